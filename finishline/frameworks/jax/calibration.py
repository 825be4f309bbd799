"""The work that shows how fast a GPU is just now; see ``finishline.calibration_work``."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_SIZE = 4096
_NUM_PRODUCTS = 4


def matmul(index: int, *, size: int = _SIZE) -> Callable[[], None]:
    """A function that multiplies (size, size) matrices on device ``index`` and waits for that."""
    left = jax.device_put(jnp.ones((size, size)), jax.local_devices()[index])
    product = jax.jit(jnp.matmul)

    def work() -> None:
        results = [product(left, left) for _ in range(_NUM_PRODUCTS)]
        jax.block_until_ready(results)

    return work
