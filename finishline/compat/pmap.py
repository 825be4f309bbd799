"""The layout of arrays that ``jax.pmap`` asks for: a first axis that runs over the devices.

Parameters, model state and optimizer state have a copy for each device along it, a batch of B
examples is (devices, B / devices, ...). Inside of ``jax.pmap`` the workload sees plain arrays.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from finishline.errors import InfrastructureError
from finishline.frameworks.base import NumpyBatch
from finishline.frameworks.jax import runtime


class Runtime(runtime.Runtime):
    """The runtime of JAX in the worker of a submission that uses ``jax.pmap``."""

    def __init__(self, *args: Any, num_devices: int = 1, shard_embeddings: bool = False, **kw: Any):
        if shard_embeddings:
            raise InfrastructureError(
                "A submission that uses jax.pmap has all parameters on each device; leave out "
                "--shard_embeddings."
            )
        super().__init__(*args, num_devices=num_devices, **kw)
        self._num_devices = num_devices
        # What is on one device jax.pmap shares out as it needs it, but nothing that is on several.
        self._key_placement = None

    def init_model(self, seed: int, example: NumpyBatch) -> tuple[Any, Any]:
        """See ``base.Runtime.init_model``."""
        return self._replicate(super().init_model(seed, example))

    def load_snapshot(self, arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """See ``base.Runtime.load_snapshot``."""
        return self._replicate(super().load_snapshot(arrays))

    def place(self, batches: Sequence[NumpyBatch]) -> Iterable[Any]:
        """See ``base.Runtime.place``."""
        count = self._num_devices
        if count > 1 and any(len(set(map(len, batch.values()))) > 1 for batch in batches):
            raise InfrastructureError(
                "A submission that uses jax.pmap cannot share out the batches of this workload, in "
                "which rows of different fields belong together; give --num_devices=1."
            )
        return super().place(
            [
                {name: array.reshape(count, -1, *array.shape[1:]) for name, array in batch.items()}
                for batch in batches
            ]
        )

    def _plain(self, params: Any, model_state: Any) -> tuple[Any, Any]:
        return _first(params), _mean(model_state)

    def _place_of(self, leaf: jax.Array) -> Any:
        return None if self._num_devices == 1 else leaf.sharding

    def _replicate(self, tree: Any) -> Any:
        """A copy of each leaf for each device."""

        def copies(tree: Any) -> Any:
            return jax.tree.map(lambda x: jnp.broadcast_to(x, (self._num_devices, *x.shape)), tree)

        return jax.jit(copies, out_shardings=self._sharded)(tree)


@jax.jit
def _first(tree: Any) -> Any:
    return jax.tree.map(lambda x: x[0], tree)


@jax.jit
def _mean(tree: Any) -> Any:
    """Running statistics are those of all devices."""
    return jax.tree.map(lambda x: x.mean(axis=0).astype(x.dtype), tree)
