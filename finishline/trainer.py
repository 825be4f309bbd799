"""The training loop of the worker: submitted code, called in turn, always on the clock."""

import inspect
import math
import types
from collections.abc import Callable
from time import monotonic
from typing import Any

from finishline import spec
from finishline.errors import SubmissionError
from finishline.feed import Feed, Keys
from finishline.frameworks.base import Ranks, Runtime

# Every so many steps the host waits until the device is at most a few such intervals behind.
_THROTTLE_MASK = 8 - 1
_PROGRESS_PERIOD = 0.25
# How often the ranks of a distributed run agree on what is due, in seconds.
_AGREEMENT_PERIOD = 0.05

_NOTHING, _PROGRESS, _EVALUATE, _LAST_STEP = range(4)


class Pace:
    """Decides between two steps what is due; all ranks decide the same.

    Attributes:
      next_look: the step after which ``look`` wants to be asked next.
    """

    def __init__(self, ranks: Ranks, eval_period: float, max_steps: int | None):
        self._ranks = ranks
        self._eval_period = eval_period
        self._max_steps = math.inf if max_steps is None else max_steps
        self._last_look = (0, monotonic())
        self.resumed(0)

    def resumed(self, step: int) -> None:
        """The clock has started (again) after ``step`` steps."""
        now = monotonic()
        self._eval_due = now + self._eval_period
        self._progress_due = now + _PROGRESS_PERIOD
        self._last_look = (step, now)
        self.next_look = step + 1

    def look(self, step: int) -> int:
        """What is due after ``step`` steps."""
        if step >= self._max_steps:
            return _LAST_STEP
        if self._ranks.world_size == 1:
            self.next_look = step + 1
            return self._due()
        action, interval = self._ranks.broadcast([self._due(), self._interval(step)])
        self.next_look = int(min(step + interval, self._max_steps))
        return action

    def _due(self) -> int:
        now = monotonic()
        if now >= self._eval_due:
            return _EVALUATE
        if now >= self._progress_due:
            self._progress_due = now + _PROGRESS_PERIOD
            return _PROGRESS
        return _NOTHING

    def _interval(self, step: int) -> int:
        last_step, last_time = self._last_look
        now = monotonic()
        self._last_look = (step, now)
        seconds_per_step = (now - last_time) / max(1, step - last_step)
        return max(1, min(64, int(_AGREEMENT_PERIOD / max(seconds_per_step, 1e-9))))


class Trainer:
    """Calls the submission's functions.

    Args:
      submission: the submission's module.
      runtime: the framework, set up for the workload.
      evaluate: sends a snapshot to the referee and returns the new entry of ``eval_results``, or
        None if there is none; raises ``StopTraining`` when the trial is over.
      report: tells the referee how far the trainer is.
    """

    def __init__(
        self,
        submission: types.ModuleType,
        runtime: Runtime,
        ranks: Ranks,
        *,
        hyperparameters: Any,
        seed: int,
        eval_results: list[tuple[int, dict[str, float]]],
        evaluate: Callable[["Trainer", str | None], tuple[int, dict[str, float]] | None],
        report: Callable[["Trainer"], None],
    ):
        self._submission = submission
        self._runtime = runtime
        self._ranks = ranks
        self._hyperparameters = hyperparameters
        self._evaluate_by_referee = evaluate
        self._report = report
        self._prepare_for_eval = getattr(submission, "prepare_for_eval", None)
        self.keys = Keys(seed, runtime.step_keys)
        self.eval_results = eval_results
        self.feed: Feed
        self.step = 0
        self.params: Any = None
        self.model_state: Any = None
        self.optimizer_state: Any = None
        self.clock_readings: dict[str, Any] = {}

    def init_optimizer_state(self, params: Any, model_state: Any) -> None:
        """Calls the submission's function of that name with the fresh parameters."""
        self.params, self.model_state = params, model_state
        self.optimizer_state = self._submission.init_optimizer_state(
            self._runtime.workload,
            params,
            model_state,
            self._hyperparameters,
            self.keys.extra(-1),
        )

    def take_model(self) -> tuple[Any, Any]:
        """(Parameters, model state); the trainer itself has none then."""
        model = self.params, self.model_state
        self.params = self.model_state = None
        return model

    def run(self, pace: Pace) -> None:
        """Trains until the referee stops it, which raises ``StopTraining``."""
        workload, runtime = self._runtime.workload, self._runtime
        data_selection = self._submission.data_selection
        update_params = self._submission.update_params
        keys_of, feed = self.keys.of, self.feed
        fixed = {
            "workload": workload,
            "current_params_types": workload.model_params_types,
            "hyperparameters": self._hyperparameters,
            "loss_type": workload.loss_type,
        }
        wants_train_state = "train_state" in inspect.signature(update_params).parameters
        while True:
            step = self.step
            selection_key, update_key = keys_of(step)
            if wants_train_state:
                fixed["train_state"] = self._train_state()
            try:
                batch = data_selection(
                    workload,
                    feed,
                    self.optimizer_state,
                    self.params,
                    self.model_state,
                    self._hyperparameters,
                    step,
                    selection_key,
                )
                returned = update_params(
                    **fixed,
                    current_param_container=self.params,
                    model_state=self.model_state,
                    batch=batch,
                    optimizer_state=self.optimizer_state,
                    eval_results=self.eval_results,
                    global_step=step,
                    rng=update_key,
                )
            except spec.TrainingCompleteError:
                self._evaluate("training_complete")
                raise StopTraining from None
            self._take("update_params", returned)
            self.step = step = step + 1
            if not step & _THROTTLE_MASK:
                runtime.throttle(self.params)
            if step >= pace.next_look:
                self._act(pace.look(step), pace)

    def _act(self, action: int, pace: Pace) -> None:
        if action == _EVALUATE:
            self._evaluate(None)
            pace.resumed(self.step)
        elif action == _LAST_STEP:
            self._evaluate("max_global_steps")
        elif action == _PROGRESS:
            self._report(self)

    def _evaluate(self, last_because: str | None) -> None:
        """``prepare_for_eval``, then a snapshot to the referee; the clock stops on its arrival.

        If the submission ends its training in ``prepare_for_eval``, the parameters that it was
        given are measured for the last time.
        """
        try:
            if self._prepare_for_eval is not None:
                self._take("prepare_for_eval", self._call_prepare_for_eval())
        except spec.TrainingCompleteError:
            last_because = "training_complete"
        result = self._evaluate_by_referee(self, last_because)
        if result is not None:
            self.eval_results.append(result)

    def _call_prepare_for_eval(self) -> Any:
        workload = self._runtime.workload
        return self._prepare_for_eval(  # type: ignore[misc]
            workload=workload,
            current_param_container=self.params,
            current_params_types=workload.model_params_types,
            model_state=self.model_state,
            hyperparameters=self._hyperparameters,
            loss_type=workload.loss_type,
            optimizer_state=self.optimizer_state,
            eval_results=self.eval_results,
            global_step=self.step,
            rng=self.keys.extra(self.step),
        )

    def _take(self, function: str, returned: Any) -> None:
        if not isinstance(returned, tuple | list) or len(returned) != 3:
            count = f"{len(returned)} values" if isinstance(returned, tuple | list) else "no tuple"
            raise SubmissionError(
                f"{function} returned {'None' if returned is None else count}; it must return "
                "(optimizer_state, current_param_container, model_state)."
            )
        self.optimizer_state, self.params, self.model_state = returned

    def _train_state(self) -> types.MappingProxyType[str, Any]:
        readings = dict(self.clock_readings)
        now = monotonic()
        running = now - readings.pop("resumed_at")
        budget = self._runtime.workload.max_allowed_runtime_sec
        readings["accumulated_submission_time"] += running
        readings["is_time_remaining"] = readings["accumulated_submission_time"] < budget
        readings["last_step_end_time"] = now
        return types.MappingProxyType(readings)


class StopTraining(Exception):
    """The referee has ended the trial."""
