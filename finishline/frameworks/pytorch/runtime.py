"""PyTorch: one process a device, joined by DistributedDataParallel."""

import copy
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from finishline import spec
from finishline.errors import InfrastructureError, SubmissionError
from finishline.frameworks.base import NumpyBatch, SnapshotSpec, WorkloadView
from finishline.frameworks.means import metrics_of
from finishline.frameworks.pytorch import distributed, sharded_embedding
from finishline.frameworks.pytorch.layers import BatchNorm
from finishline.frameworks.pytorch.losses import compute_loss
from finishline.frameworks.pytorch.metrics import METRICS, metric_sums
from finishline.frameworks.pytorch.roles import parameter_types
from finishline.frameworks.pytorch.state import Packer, pack, unpack
from finishline.scorer import Scorer
from finishline.workload import WorkloadDefinition

_CALLS_IN_FLIGHT = 2


class PyTorchWorkload(WorkloadView):
    """A workload with a ``torch.nn`` model, as submissions see it."""

    def __init__(
        self,
        output_layer: str | None,
        definition: WorkloadDefinition,
        num_examples: Mapping[str, int],
    ):
        super().__init__(definition, num_examples)
        self._output_layer = output_layer

    def model_fn(
        self,
        params: nn.Module,
        augmented_and_preprocessed_input_batch: Mapping[str, Tensor],
        model_state: Any,
        mode: spec.ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: float | None = None,
    ) -> tuple[Any, Any]:
        """See ``spec.Workload.model_fn``. Dropout draws from PyTorch's global generator."""
        del rng
        is_training = mode is spec.ForwardPassMode.TRAIN
        if params.training is not is_training:
            params.train(is_training)
        if not is_training:
            with torch.no_grad():
                return params(augmented_and_preprocessed_input_batch, dropout_rate=0.0), None
        _set_batch_norm_update(params, update_batch_norm)
        rate = self._default_dropout_rate if dropout_rate is None else dropout_rate
        return params(augmented_and_preprocessed_input_batch, dropout_rate=rate), model_state

    def loss_fn(
        self,
        label_batch: Tensor,
        logits_batch: Any,
        mask_batch: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Tensor]:
        """See ``spec.Workload.loss_fn``. Not summed over the ranks of a distributed run."""
        smoothing = label_smoothing if self._smooths_labels else 0.0
        return compute_loss(self.loss_type, label_batch, logits_batch, mask_batch, smoothing)


class Runtime:
    """See ``finishline.frameworks.base.Runtime``."""

    def __init__(
        self,
        definition: WorkloadDefinition,
        num_examples: Mapping[str, int],
        *,
        num_devices: int = 1,
        compile_model: bool = False,
        shard_embeddings: bool = False,
    ):
        torch.set_float32_matmul_precision(definition.matmul_precision)
        torch.backends.cudnn.allow_tf32 = definition.matmul_precision != "highest"
        is_cuda = torch.cuda.is_available()
        if num_devices > 1 and is_cuda and num_devices > torch.cuda.device_count():
            raise InfrastructureError(
                f"{num_devices} devices are asked for; PyTorch sees {torch.cuda.device_count()}."
            )
        self.device = (
            torch.device("cuda", distributed.local_rank()) if is_cuda else torch.device("cpu")
        )
        self.is_accelerated = is_cuda
        self._definition = definition
        # Several devices have a rank each in training; without ranks, evaluation uses them in turn.
        self._is_distributed = torch.distributed.is_initialized()
        self._num_devices = num_devices
        self._shards_embeddings = shard_embeddings and self._is_distributed
        self._compile_model = compile_model
        output_layer = definition.model_module("pytorch").Model.output_layer
        self.workload = PyTorchWorkload(output_layer, definition, num_examples)
        self._events: list[torch.cuda.Event] = []
        self._spec: SnapshotSpec = {}
        # The model that init_model has made, of which optimizer states may hold parameters.
        self._trained: nn.Module | None = None

    def init_model(self, seed: int, example: NumpyBatch) -> tuple[nn.Module, None]:
        """See ``base.Runtime.init_model``."""
        del example  # PyTorch's models know their input sizes
        torch.manual_seed(seed)
        model = self._definition.build_model("pytorch")
        self._spec = {name: _array_spec(tensor) for name, tensor in model.state_dict().items()}
        self.workload.param_shapes = {
            name: spec.ShapeTuple(tuple(p.shape)) for name, p in model.named_parameters()
        }
        self.workload.model_params_types = parameter_types(model)
        placed = self._to_device(model)
        self._trained = _unwrapped(placed)
        return placed, None

    def blank_model(self, example: NumpyBatch) -> tuple[nn.Module, None]:
        """See ``base.Runtime.blank_model``."""
        return self.init_model(0, example)

    def _to_device(self, model: nn.Module) -> nn.Module:
        if self._shards_embeddings:
            sharded_embedding.shard_embeddings(model, getattr(model, "sharded_parameters", ()))
        model = model.to(self.device)
        if self._compile_model:
            model.compile()
        if not self._is_distributed:
            return model
        device_ids = [self.device] if self.device.type == "cuda" else None
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
            model, sharded_embedding.sharded_names(model)
        )
        # Batch norm already shares its statistics, so every rank has the same buffers.
        return DistributedDataParallel(model, device_ids=device_ids, broadcast_buffers=False)

    def snapshot_spec(self) -> SnapshotSpec:
        """See ``base.Runtime.snapshot_spec``."""
        return dict(self._spec)

    def seed_everything(self, seed: int) -> None:
        """Seeds the generators of Python, NumPy and PyTorch, differently on each rank."""
        seed = (seed + distributed.rank()) % 2**63
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def place(self, batches: Sequence[NumpyBatch]) -> Iterable[dict[str, Tensor]]:
        """See ``base.Runtime.place``."""
        return [
            {name: self._place(torch.from_numpy(array)) for name, array in batch.items()}
            for batch in batches
        ]

    def _place(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cpu":
            return tensor
        # The thread that prefetches has a current device of its own, the first.
        with torch.cuda.device(self.device):
            return tensor.pin_memory().to(self.device, non_blocking=True)

    def step_keys(self, rows: np.ndarray) -> Iterable[np.ndarray]:
        """See ``base.Runtime.step_keys``; PyTorch submissions get the bits themselves."""
        return list(rows)

    def throttle(self, params: nn.Module) -> None:
        """See ``base.Runtime.throttle``; work on the CPU is never ahead."""
        del params
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event()
        event.record()
        self._events.append(event)
        if len(self._events) > _CALLS_IN_FLIGHT:
            self._events.pop(0).synchronize()

    def snapshot(self, params: nn.Module, model_state: Any) -> dict[str, np.ndarray]:
        """See ``base.Runtime.snapshot``."""
        del model_state
        if not isinstance(params, nn.Module):
            raise SubmissionError(
                f"The returned parameters are a {type(params).__name__}; PyTorch submissions "
                "return the torch.nn.Module that they were given."
            )
        return sharded_embedding.whole_state(_unwrapped(params))

    def load_snapshot(self, arrays: Mapping[str, np.ndarray]) -> tuple[nn.Module, None]:
        """See ``base.Runtime.load_snapshot``."""
        model = self._definition.build_model("pytorch")
        _load(model, arrays)
        return self._to_device(model), None

    def restore(
        self, model: tuple[nn.Module, None], arrays: Mapping[str, np.ndarray]
    ) -> tuple[nn.Module, None]:
        """See ``base.Runtime.restore``."""
        _load(_unwrapped(model[0]), arrays)
        return model

    def save_state(self, optimizer_state: Any, path: Path) -> list[str]:
        """See ``base.Runtime.save_state``."""
        packed, not_saved = pack(optimizer_state, self._trained)
        torch.save({"optimizer_state": packed, "generators": _generator_states()}, path)
        return not_saved

    def restored_ids(self, params: nn.Module) -> set[int]:
        """See ``base.Runtime.restored_ids``."""
        modules = [params, *params.modules()] if isinstance(params, nn.Module) else []
        parameters = [p for module in modules for p in module.parameters(recurse=False)]
        return {id(part) for part in [self.workload, *modules, *parameters]}

    def unsaved(self, optimizer_state: Any) -> dict[str, Any]:
        """See ``base.Runtime.unsaved``."""
        packer = Packer(self._trained)
        packer.pack(optimizer_state)
        types = {f"the type of {path}": kind for path, kind in packer.types.items()}
        return {**types, **packer.not_saved}

    def load_state(self, optimizer_state: Any, path: Path) -> Any:
        """See ``base.Runtime.load_state``."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        restored = unpack(optimizer_state, saved["optimizer_state"], self._trained)
        _set_generator_states(saved["generators"])
        return restored

    @torch.inference_mode()
    def evaluate(
        self,
        params: nn.Module,
        model_state: Any,
        batches: Iterable[NumpyBatch],
        scorer: Scorer | None = None,
    ) -> dict[str, float]:
        """See ``base.Runtime.evaluate``."""
        names = [name for name in self._definition.metrics if name in METRICS]
        replicas = self._replicas(_unwrapped(params))
        sums = [
            torch.zeros(len(names), 2, dtype=torch.float64, device=device) for _, device in replicas
        ]
        for (number, batch), (model, device), total in zip(
            enumerate(batches), itertools.cycle(replicas), itertools.cycle(sums), strict=False
        ):
            part = distributed.rank_part(batch, number)
            mine = {name: torch.from_numpy(array) for name, array in part.items()}
            outputs: dict[str, np.ndarray] = {}
            if len(mine["weights"]):  # not all ranks have a part of every batch
                # Launches are asynchronous, so the devices work at the same time.
                tensors = {name: tensor.to(device) for name, tensor in mine.items()}
                logits, _ = self.workload.model_fn(
                    model, tensors, model_state, spec.ForwardPassMode.EVAL, None, False
                )
                total += metric_sums(names, self._definition.loss_type, tensors, logits)
                if scorer is not None:
                    outputs = self._predict(model, tensors, logits)
            if scorer is not None:
                scorer.add(batch, distributed.joined(outputs))
        over_devices = torch.stack([total.to(self.device) for total in sums]).sum(dim=0)
        metrics = metrics_of(names, distributed.sum_over_ranks(over_devices).tolist())
        return metrics if scorer is None else metrics | scorer.result()

    def _predict(
        self, model: nn.Module, batch: Mapping[str, Tensor], logits: Any
    ) -> dict[str, np.ndarray]:
        """What the scorer is given of a batch."""
        predict = getattr(self._definition.model_module("pytorch"), "predict", None)
        outputs = {"logits": logits} if predict is None else predict(model, batch, logits)
        return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}

    def _replicas(self, model: nn.Module) -> list[tuple[nn.Module, torch.device]]:
        """The model and its copies, one a device; the batches of an evaluation take turns."""
        others = [] if self._is_distributed else range(1, self._num_devices)
        is_cuda = self.device.type == "cuda"
        devices = [torch.device("cuda", i) if is_cuda else self.device for i in others]
        copies = [(copy.deepcopy(model).to(device), device) for device in devices]
        return [(model, self.device), *copies]


def _unwrapped(params: nn.Module) -> nn.Module:
    return params.module if isinstance(params, DistributedDataParallel) else params


def _load(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    model.load_state_dict(sharded_embedding.own_state(model, arrays), strict=True)


def _set_batch_norm_update(params: nn.Module, update: bool) -> None:
    # The walk over all modules is needed only when the flag changes, which is rare.
    if getattr(params, "_batch_norm_update", None) is update:
        return
    for module in params.modules():
        if isinstance(module, BatchNorm):
            module.update_running_statistics = update
    params._batch_norm_update = update  # type: ignore[assignment]


def _array_spec(tensor: Tensor) -> tuple[tuple[int, ...], np.dtype]:
    return tuple(tensor.shape), tensor.cpu().numpy().dtype


def _generator_states() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys)), position, has_gauss, gauss],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_generator_states(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"].cpu())
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.cpu().numpy(), position, has_gauss, gauss))
    random.setstate(states["python"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu())
