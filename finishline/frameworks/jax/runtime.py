"""JAX: one process, arrays sharded by the batch over the local devices."""

import collections
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from finishline import spec
from finishline.data.pipeline import pad_to_multiple
from finishline.errors import InfrastructureError, SubmissionError
from finishline.frameworks.base import NumpyBatch, SnapshotSpec, WorkloadView
from finishline.frameworks.jax.losses import compute_loss
from finishline.frameworks.jax.metrics import METRICS, metric_sums
from finishline.frameworks.jax.roles import parameter_types
from finishline.frameworks.means import metrics_of
from finishline.scorer import Scorer
from finishline.workload import WorkloadDefinition

_CALLS_IN_FLIGHT = 2


class JaxWorkload(WorkloadView):
    """A workload with a ``flax.linen`` model, as submissions see it."""

    def __init__(self, model: Any, definition: WorkloadDefinition, num_examples: Mapping[str, int]):
        super().__init__(definition, num_examples)
        self._model = model
        self._output_layer = model.output_layer

    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: Mapping[str, Any],
        model_state: Any,
        mode: spec.ForwardPassMode,
        rng: Any,
        update_batch_norm: bool,
        dropout_rate: Any = None,
    ) -> tuple[Any, Any]:
        """See ``spec.Workload.model_fn``."""
        variables = {"params": params, **(model_state or {})}
        batch = augmented_and_preprocessed_input_batch
        if mode is spec.ForwardPassMode.EVAL:
            return self._model.apply(variables, batch, train=False, dropout_rate=0.0), model_state
        rate = self._default_dropout_rate if dropout_rate is None else dropout_rate
        logits, updated = self._model.apply(
            variables,
            batch,
            train=True,
            dropout_rate=rate,
            rngs=None if rng is None else {"dropout": rng},
            mutable=list(model_state or ()),
        )
        return logits, (updated if model_state and update_batch_norm else model_state)

    def loss_fn(
        self,
        label_batch: jax.Array,
        logits_batch: Any,
        mask_batch: jax.Array | None = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, jax.Array]:
        """See ``spec.Workload.loss_fn``."""
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
        del compile_model  # submissions compile their own step with jax.jit
        jax.config.update("jax_default_matmul_precision", definition.matmul_precision)
        if num_devices > jax.local_device_count():
            raise InfrastructureError(
                f"{num_devices} devices are asked for; JAX sees {jax.local_device_count()}."
            )
        self._definition = definition
        self._model = definition.build_model("jax")
        self.is_accelerated = jax.default_backend() != "cpu"
        # None on one device: arrays with a sharding of their own would make jax.jit compile a
        # step twice, once for the first call and once for its own results.
        self._replicated: NamedSharding | None = None
        self._sharded_chunk: NamedSharding | None = None
        self._sharded: NamedSharding | None = None
        if num_devices > 1:
            mesh = Mesh(np.asarray(jax.local_devices()[:num_devices]), ("batch",))
            self._replicated = NamedSharding(mesh, PartitionSpec())
            self._sharded_chunk = NamedSharding(mesh, PartitionSpec(None, "batch"))
            self._sharded = NamedSharding(mesh, PartitionSpec("batch"))
        self._key_placement = self._replicated
        self._sharded_parameters: tuple[tuple[str, ...], ...] = ()
        if shard_embeddings and num_devices > 1:
            self._sharded_parameters = getattr(self._model, "sharded_parameters", ())
            if self._sharded_parameters:
                self._model = self._model.clone(mesh=mesh)
        self.workload = JaxWorkload(self._model, definition, num_examples)
        self._in_flight: collections.deque[jax.Array] = collections.deque()
        self._variables: Any = None

    def init_model(self, seed: int, example: NumpyBatch) -> tuple[Any, Any]:
        """See ``base.Runtime.init_model``."""
        example = {name: array[:1] for name, array in example.items()}
        # Counter-based keys of XLA's own: code for threefry takes seconds to compile.
        key = jax.random.key(seed, impl="rbg")
        shapes = jax.eval_shape(self._init, key, example)
        variables = jax.jit(self._init, out_shardings=self._placement(shapes))(key, example)
        self._declare(variables, example)
        return _split(variables)

    def blank_model(self, example: NumpyBatch) -> tuple[Any, Any]:
        """See ``base.Runtime.blank_model``."""
        shapes = jax.eval_shape(self._init, jax.random.key(0), dict(example))
        self._declare(shapes, example)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
        return _split(jax.device_put(zeros, self._placement(zeros)))

    def _placement(self, variables: Any) -> Any:
        """Where each of the model's variables is to be, or one place for all."""
        if not self._sharded_parameters or self._sharded is None:
            return self._replicated
        flat = flax.traverse_util.flatten_dict(variables)
        for path in self._sharded_parameters:
            count, ranks = flat["params", *path].shape[0], self._sharded.mesh.size
            if count % ranks:
                raise InfrastructureError(
                    f"{ranks} devices cannot share the {count:,} rows of {'/'.join(path)!r} "
                    "evenly; leave out --shard_embeddings, or give another --num_devices."
                )
        sharded = {("params", *path) for path in self._sharded_parameters}
        return flax.traverse_util.unflatten_dict(
            {path: self._sharded if path in sharded else self._replicated for path in flat}
        )

    def _init(self, key: jax.Array, example: Any) -> Any:
        return self._model.init(key, example, train=False, dropout_rate=0.0)

    def _declare(self, variables: Any, example: NumpyBatch) -> None:
        self._variables = jax.eval_shape(lambda: variables)
        params = variables["params"]
        self.workload.param_shapes = jax.tree.map(lambda p: spec.ShapeTuple(p.shape), params)
        self.workload.model_params_types = parameter_types(self._model, params, example)

    def snapshot_spec(self) -> SnapshotSpec:
        """See ``base.Runtime.snapshot_spec``."""
        flat = flax.traverse_util.flatten_dict(self._variables, sep="/")
        return {name: (leaf.shape, np.dtype(leaf.dtype)) for name, leaf in flat.items()}

    def seed_everything(self, seed: int) -> None:
        """Does nothing: JAX has no global generator."""

    def place(self, batches: Sequence[NumpyBatch]) -> Iterable[Any]:
        """See ``base.Runtime.place``."""
        if self._sharded is None:
            return (_to_device(dict(batch)) for batch in batches)
        groups = (list(group) for _, group in itertools.groupby(batches, _shapes))
        return itertools.chain.from_iterable(map(self._place_alike, groups))

    def _place_alike(self, batches: Sequence[NumpyBatch]) -> Iterable[Any]:
        padded = list(map(self._padded, batches))  # changes only what makes its own batches
        # One transfer for all: each costs as much as a small step.
        stacked = {name: np.stack([batch[name] for batch in padded]) for name in padded[0]}
        return _unstack(jax.device_put(stacked, self._sharded_chunk), self._sharded)

    def step_keys(self, rows: np.ndarray) -> Iterable[Any]:
        """See ``base.Runtime.step_keys``."""
        return _unstack(rows, self._key_placement)

    def throttle(self, params: Any) -> None:
        """See ``base.Runtime.throttle``.

        Parameters are usually donated to the next step, so a probe computed from them is awaited.

        Raises:
          SubmissionError: the parameters hold no usable array.
        """
        first = next(iter(jax.tree.leaves(params)), None)
        _check_usable(first, "parameters")
        self._in_flight.append(_probe(first))
        if len(self._in_flight) > _CALLS_IN_FLIGHT:
            self._in_flight.popleft().block_until_ready()

    def snapshot(self, params: Any, model_state: Any) -> dict[str, np.ndarray]:
        """See ``base.Runtime.snapshot``."""
        try:
            params, model_state = self._plain(params, model_state)
            variables = {"params": params, **(model_state or {})}
            flat = flax.traverse_util.flatten_dict(variables, sep="/")
            return {name: np.asarray(leaf) for name, leaf in jax.device_get(flat).items()}
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise SubmissionError(
                f"The returned parameters and model state are no nested dicts of arrays: {error}."
            ) from error

    def _plain(self, params: Any, model_state: Any) -> tuple[Any, Any]:
        """Parameters and model state in the model's own shapes, which a submission may change."""
        return params, model_state

    def load_snapshot(self, arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """See ``base.Runtime.load_snapshot``."""
        variables = flax.traverse_util.unflatten_dict(dict(arrays), sep="/")
        return _split(jax.device_put(variables, self._placement(variables)))

    def restore(self, model: tuple[Any, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """See ``base.Runtime.restore``."""
        del model
        return self.load_snapshot(arrays)

    def save_state(self, optimizer_state: Any, path: Path) -> list[str]:
        """See ``base.Runtime.save_state``; the submission rebuilds leaves that are no arrays."""
        leaves = jax.tree.leaves(optimizer_state)
        for leaf in filter(_is_data, leaves):
            _check_usable(leaf, "optimizer state")
        kept = {str(i): jax.device_get(leaf) for i, leaf in enumerate(leaves) if _is_data(leaf)}
        path.write_bytes(flax.serialization.msgpack_serialize(kept))
        return [f"leaf {i}: {leaf!r:.60}" for i, leaf in enumerate(leaves) if not _is_data(leaf)]

    def restored_ids(self, params: Any) -> set[int]:
        """See ``base.Runtime.restored_ids``."""
        del params  # arrays do not change
        return {id(self.workload)}

    def unsaved(self, optimizer_state: Any) -> dict[str, Any]:
        """See ``base.Runtime.unsaved``."""
        leaves, structure = jax.tree.flatten(optimizer_state)
        functions = {f"leaf {i}": leaf for i, leaf in enumerate(leaves) if not _is_data(leaf)}
        return {"the structure of the state": structure, **functions}

    def load_state(self, optimizer_state: Any, path: Path) -> Any:
        """See ``base.Runtime.load_state``."""
        leaves, structure = jax.tree.flatten(optimizer_state)
        for index, value in flax.serialization.msgpack_restore(path.read_bytes()).items():
            leaf = leaves[int(index)]
            is_array = isinstance(leaf, jax.Array)
            leaves[int(index)] = jax.device_put(value, self._place_of(leaf)) if is_array else value
        return jax.tree.unflatten(structure, leaves)

    def _place_of(self, leaf: jax.Array) -> Any:
        """Where a leaf of the optimizer state is to be when it is loaded."""
        is_placed = self._sharded_parameters and isinstance(leaf.sharding, NamedSharding)
        return leaf.sharding if is_placed else self._replicated

    def evaluate(
        self,
        params: Any,
        model_state: Any,
        batches: Iterable[NumpyBatch],
        scorer: Scorer | None = None,
    ) -> dict[str, float]:
        """See ``base.Runtime.evaluate``."""
        sums = np.zeros((len(self._mean_metrics), 2))
        in_flight: collections.deque[tuple[NumpyBatch, Any]] = collections.deque()

        def take_oldest() -> None:
            nonlocal sums
            batch, on_device = in_flight.popleft()
            batch_sums, outputs = jax.device_get(on_device)
            sums = sums + np.asarray(batch_sums, np.float64)
            if scorer is not None:
                scorer.add(batch, outputs)

        for batch in map(self._padded, batches):
            measured = self._evaluate_batch(params, model_state, self._shard(batch))
            in_flight.append((batch, measured))
            if len(in_flight) > _CALLS_IN_FLIGHT:  # or batches would pile up on the device
                take_oldest()
        while in_flight:
            take_oldest()
        metrics = metrics_of(self._mean_metrics, sums.tolist())
        return metrics if scorer is None else metrics | scorer.result()

    def _padded(self, batch: NumpyBatch) -> NumpyBatch:
        """A batch filled up so that the devices can share it evenly."""
        if self._sharded is None:
            return batch
        return pad_to_multiple(batch, self._sharded.mesh.size)

    def _shard(self, batch: NumpyBatch) -> Any:
        return dict(batch) if self._sharded is None else jax.device_put(batch, self._sharded)

    @property
    def _mean_metrics(self) -> list[str]:
        """The metrics that are calculated on the device; the others are the scorer's."""
        return [name for name in self._definition.metrics if name in METRICS]

    @functools.cached_property
    def _evaluate_batch(self) -> Any:
        definition = self._definition
        predict = getattr(definition.model_module("jax"), "predict", None)

        def evaluate(params: Any, model_state: Any, batch: Any) -> Any:
            logits, _ = self.workload.model_fn(
                params, batch, model_state, spec.ForwardPassMode.EVAL, None, False
            )
            sums = metric_sums(self._mean_metrics, definition.loss_type, batch, logits)
            if definition.scorer is None:
                return sums, {}
            if predict is None:
                return sums, {"logits": logits}
            variables = {"params": params, **(model_state or {})}
            return sums, predict(self._model, variables, batch, logits)

        return jax.jit(evaluate)


def _shapes(batch: NumpyBatch) -> list[tuple[int, ...]]:
    return [array.shape for array in batch.values()]


def _split(variables: Mapping[str, Any]) -> tuple[Any, Any]:
    state = {name: value for name, value in variables.items() if name != "params"}
    return variables["params"], state or None


def _check_usable(leaf: Any, what: str) -> None:
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise SubmissionError(
            f"An array of the returned {what} has been deleted, probably because a jitted function "
            "was given it with donate_argnums; return what the function has returned."
        )
    if not _is_data(leaf):
        raise SubmissionError(
            f"The returned {what} hold {'nothing' if leaf is None else f'{leaf!r:.60}'} where an "
            "array should be; return them in the structure in which they were given."
        )


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | bool)


@functools.partial(jax.jit, static_argnums=1)
def _unstack(tree: Any, sharding: NamedSharding | None) -> list[Any]:
    leaves, structure = jax.tree.flatten(tree)
    slices = [
        jax.tree.unflatten(structure, [leaf[i] for leaf in leaves]) for i in range(len(leaves[0]))
    ]
    return slices if sharding is None else jax.lax.with_sharding_constraint(slices, sharding)


@jax.jit
def _to_device(batch: Any) -> Any:
    """The arguments of a jitted function are placed many times faster than by jax.device_put."""
    return batch


@jax.jit
def _probe(x: jax.Array) -> jax.Array:
    return jnp.ravel(x)[0]
