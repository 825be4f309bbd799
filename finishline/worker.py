"""The worker: the process that runs submitted code. Started by the referee, one a trial.

Usage: ``python -m finishline.worker SOCKET FRAMEWORK`` (under ``torchrun`` for several ranks).
Until the referee says ``start``, only harness code runs; from then on the referee's clock runs
whenever this process does.
"""

import contextlib
import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from finishline import failures, scalars
from finishline.channel import Channel, ChannelClosed, connect
from finishline.compat.layer import Layer
from finishline.errors import SubmissionError
from finishline.exchange import full_folder_is_told
from finishline.feed import Feed, Keys
from finishline.fingerprint import Fingerprint, changed
from finishline.frameworks.base import Ranks, create_runtime, join_ranks
from finishline.tether import die_with_parent
from finishline.trainer import Pace, StopTraining, Trainer

SNAPSHOT_FILE = "snapshot.safetensors"
STATE_FILE = "state_{rank}.bin"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What the worker is told before the start; the fields of the ``setup`` frame."""

    workload: str
    framework: str
    data_dir: str
    exchange_dir: str
    submission_path: str
    num_examples: dict[str, int]
    seeds: dict[str, int]
    overrides: dict[str, Any]
    num_devices: int
    compile_model: bool
    shard_embeddings: bool
    save_state: bool
    max_global_steps: int | None
    compat_shims: list[str] | None


class Worker:
    """One rank. Only rank 0 speaks to the referee."""

    def __init__(self, channel: Channel | None, setup: Setup, ranks: Ranks):
        from finishline.workload import find_workload

        self._channel = channel
        self._setup = setup
        self._ranks = ranks
        self._exchange = Path(setup.exchange_dir)
        overrides = setup.overrides | {"quirks": frozenset(setup.overrides["quirks"])}
        definition = find_workload(setup.workload).variant(setup.workload, **overrides)
        self._definition = definition
        self._source = definition.open(Path(setup.data_dir), "train")
        self._compat = Layer(setup.submission_path, setup.compat_shims)
        self._runtime = create_runtime(
            setup.framework,
            definition,
            setup.num_examples,
            num_devices=setup.num_devices,
            compile_model=setup.compile_model,
            shard_embeddings=setup.shard_embeddings,
            module=self._compat.runtime_module,
        )
        self._logger = scalars.MetricsLogger() if channel is not None else None
        self._runtime.workload.metrics_logger = self._logger
        # Taken out when it is used: a second model may not fit on the device.
        self._fresh = [self._init_model()]

    def _init_model(self) -> tuple[Any, Any]:
        import numpy as np

        example = self._source.gather(np.zeros(1, dtype=np.int64))
        Keys(0, self._runtime.step_keys).of(0)  # compiles the harness's own code before the start
        return self._runtime.init_model(self._setup.seeds["init"], example)

    def race(self, start: dict[str, Any]) -> None:
        """Runs the submission. The referee's clock started before ``start`` arrived."""
        from finishline.tuning import to_hyperparameters

        started_at = monotonic()
        setup = self._setup
        self._runtime.seed_everything(setup.seeds["submission"])
        hyperparameters = to_hyperparameters(start["hyperparameters"])
        self._compat.set_dropout(self._runtime.workload, hyperparameters)
        submission = self._compat.load()
        batch_size = self._ask_batch_size(submission)
        trainer = Trainer(
            submission,
            self._runtime,
            self._ranks,
            hyperparameters=hyperparameters,
            seed=setup.seeds["submission"],
            eval_results=[(step, metrics) for step, metrics in start["eval_results"]],
            evaluate=self._evaluate,
            report=self._report,
        )
        trainer.clock_readings = {**start["clock_readings"], "resumed_at": started_at}
        trainer.init_optimizer_state(*self._fresh.pop())
        self._rebuilt_at_first = self._rebuilt(trainer)
        position = self._restore(trainer, start["resume"])
        trainer.feed = self._open_feed(batch_size, position)
        pace = Pace(self._ranks, self._definition.eval_period_time_sec, setup.max_global_steps)
        pace.resumed(trainer.step)
        trainer.run(pace)

    def _ask_batch_size(self, submission: Any) -> int:
        batch_size = ask_batch_size(submission, self._setup.workload)
        check_batch_size(batch_size, self._setup.num_examples["train"], self._setup.num_devices)
        if self._channel is not None:
            self._channel.send("batch_size", global_batch_size=batch_size)
        return batch_size

    def _open_feed(self, batch_size: int, position: int) -> Feed:
        from finishline.data.pipeline import training_batches

        batches = training_batches(
            self._source,
            batch_size=batch_size,
            seed=self._setup.seeds["data"],
            position=position,
            rank=self._ranks.rank,
            world_size=self._ranks.world_size,
        )
        runtime = self._runtime
        return Feed(batches, runtime.place, prefetch=runtime.is_accelerated)

    def _restore(self, trainer: Trainer, resume: dict[str, int] | None) -> int:
        """Puts the trainer where the checkpoint was; returns the position in the data."""
        if resume is None:
            return 0
        from safetensors.numpy import load_file

        arrays = load_file(self._exchange / SNAPSHOT_FILE)
        model = self._runtime.restore(trainer.take_model(), arrays)
        trainer.params, trainer.model_state = model
        trainer.step = resume["step"]
        state_file = self._exchange / STATE_FILE.format(rank=self._ranks.rank)
        trainer.optimizer_state = self._runtime.load_state(trainer.optimizer_state, state_file)
        return resume["position"]

    def _evaluate(
        self, trainer: Trainer, last_because: str | None
    ) -> tuple[int, dict[str, float]] | None:
        arrays = self._runtime.snapshot(trainer.params, trainer.model_state)
        not_saved = self._save_state(trainer)
        self._ranks.barrier()
        if self._channel is None:
            return self._follow(trainer)
        from safetensors.numpy import save_file

        with full_folder_is_told(self._exchange):
            save_file(arrays, self._exchange / SNAPSHOT_FILE)
        self._send_scalars()
        self._channel.send(
            "snapshot",
            step=trainer.step,
            position=trainer.feed.position,
            last_because=last_because,
            not_saved=not_saved,
            lost=changed(self._rebuilt_at_first, self._rebuilt(trainer)),
            data_wait_sec=trainer.feed.wait_seconds,
        )
        reply = self._channel.receive()
        assert reply is not None  # without a timeout, receive waits
        if self._ranks.world_size > 1:
            self._tell_ranks(reply)
        return self._obey(trainer, reply)

    def _rebuilt(self, trainer: Trainer) -> dict[str, Fingerprint]:
        """How that looks now which a resume would not load, but have as it is at first."""
        if not self._setup.save_state:
            return {}
        known = self._runtime.restored_ids(trainer.params)
        parts = self._runtime.unsaved(trainer.optimizer_state)
        return {name: Fingerprint(value, known) for name, value in parts.items()}

    def _save_state(self, trainer: Trainer) -> list[str]:
        if not self._setup.save_state:
            return []
        path = self._exchange / STATE_FILE.format(rank=self._ranks.rank)
        with full_folder_is_told(self._exchange):
            return self._runtime.save_state(trainer.optimizer_state, path)

    def _tell_ranks(self, reply: dict[str, Any]) -> None:
        (self._exchange / "reply.json").write_text(json.dumps(reply))
        self._ranks.barrier()

    def _follow(self, trainer: Trainer) -> tuple[int, dict[str, float]] | None:
        self._ranks.barrier()
        return self._obey(trainer, json.loads((self._exchange / "reply.json").read_text()))

    def _obey(self, trainer: Trainer, reply: dict[str, Any]) -> tuple[int, dict[str, float]] | None:
        if reply["type"] == "stop":
            raise StopTraining
        if reply["type"] != "resume":
            return None
        trainer.clock_readings = {**reply["clock_readings"], "resumed_at": monotonic()}
        return trainer.step, reply["metrics"]

    def _report(self, trainer: Trainer) -> None:
        if self._channel is not None:
            self._channel.send(
                "progress", step=trainer.step, data_wait_sec=trainer.feed.wait_seconds
            )

    def _send_scalars(self) -> None:
        if self._logger is not None and self._channel is not None:
            for rows in scalars.frames(self._logger.take()):
                self._channel.send("scalars", rows=rows)


def ask_batch_size(submission: Any, workload_name: str) -> Any:
    """The submission's batch size for ``workload_name``.

    A submission that does not know the workload is asked for the workload's stand-in instead, and
    one that does not know that for the workload that all know.
    """
    from finishline.workload import EVERYONES_WORKLOAD, find_workload

    for name in (workload_name, find_workload(workload_name).batch_size_name):
        with contextlib.suppress(ValueError, KeyError):
            return submission.get_batch_size(name)
    return submission.get_batch_size(EVERYONES_WORKLOAD)


def check_batch_size(batch_size: Any, num_train_examples: int, num_devices: int) -> None:
    """Checks what ``get_batch_size`` returned.

    Raises:
      SubmissionError: it cannot be used; one sentence says why.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        problem = f"{batch_size!r}, which is no integer"
    elif batch_size <= 0:
        problem = f"{batch_size}, which is not positive"
    elif batch_size > num_train_examples:
        problem = f"{batch_size}, which is more than the {num_train_examples} training examples"
    elif batch_size % num_devices:
        problem = f"{batch_size}, which {num_devices} devices cannot share evenly"
    else:
        return
    raise SubmissionError(f"get_batch_size returned {problem}; return another global batch size.")


def run_rank(channel: Channel | None, ranks: Ranks) -> None:
    """Set-up and race of one rank; rank 0 hands the referee's frames on to the others."""
    setup_frame, start = None, None
    if channel is not None:
        setup_frame = channel.receive()
        assert setup_frame is not None
    worker = Worker(channel, Setup(**_shared(setup_frame, ranks, "setup")), ranks)
    if channel is not None:
        channel.send("ready")
        start = channel.receive()
    worker.race(_shared(start, ranks, "start"))


def _shared(frame: dict[str, Any] | None, ranks: Ranks, name: str) -> dict[str, Any]:
    """The content of rank 0's ``frame``, on every rank."""
    if ranks.world_size > 1:
        path = Path(os.environ["FINISHLINE_EXCHANGE_DIR"]) / f"{name}.json"
        if frame is not None:
            path.write_text(json.dumps(frame))
        ranks.barrier()
        frame = json.loads(path.read_text())
    assert frame is not None
    return {key: value for key, value in frame.items() if key != "type"}


def main(socket_path: str, framework: str) -> None:
    """Runs one rank to its end and tells the referee how it ended."""
    die_with_parent(os.getppid())
    # Takes seconds, in which the referee gets ready, too.
    importlib.import_module(f"finishline.frameworks.{framework}.runtime")
    # Later a file of the submission could have that name.
    importlib.import_module("safetensors.numpy")
    ranks = join_ranks()
    channel = connect(socket_path) if ranks.rank == 0 else None
    exit_code = 0
    try:
        run_rank(channel, ranks)
    except (StopTraining, ChannelClosed):
        pass
    except BaseException as error:
        exit_code = 1  # torchrun ends the other ranks
        failures.tell(error, channel, ranks.rank)
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads and exit handlers of the submission have nothing more to do here.
    os._exit(exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
