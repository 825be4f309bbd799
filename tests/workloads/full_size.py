"""One training step and one evaluation batch of a full-size model, for ``test_full_size.py``.

Usage: python tests/workloads/full_size.py WORKLOAD FRAMEWORK

Prints one line of JSON: ``loss`` before the step; ``changed``, how many parameter tensors the step
has changed; ``metrics`` of the evaluation; ``num_values`` of parameters and model state together;
``peak_bytes``, the most memory that this process has had.
"""

import json
import resource
import sys

import numpy as np

from finishline.data.prepared import blank_example
from finishline.frameworks.base import Runtime, create_runtime
from finishline.frameworks.environment import prepare_environment
from finishline.spec import ForwardPassMode
from finishline.workload import WorkloadDefinition, find_workload

BATCH_SIZE = 2
RATE = 0.1


def random_batch(definition: WorkloadDefinition) -> dict[str, np.ndarray]:
    """A batch in the shapes of the data; integers are 0 or 1, which any label or id can be."""
    generator = np.random.default_rng(0)
    batch = {
        name: generator.random(blank.shape)
        .round(0 if blank.dtype.kind in "iub" else 8)
        .astype(blank.dtype)
        for name, blank in blank_example(definition.dataset.fields, BATCH_SIZE).items()
    }
    if "input_lengths" in batch:  # speech, whose frames must be enough for its tokens
        batch["input_lengths"][:] = batch["inputs"].shape[1]
        batch["targets"] = np.zeros_like(batch["targets"])
        batch["targets"][:, :4] = (1, 2, 1, 3)
    return batch


def jax_step(runtime: Runtime, params, model_state, batch):
    """One step of SGD: (loss, parameters, model state). The old parameters' memory is reused."""
    import jax

    def mean_loss(params):
        logits, new_state = runtime.workload.model_fn(
            params, batch, model_state, ForwardPassMode.TRAIN, jax.random.key(0), True
        )
        loss = runtime.workload.loss_fn(batch["targets"], logits)
        return loss["summed"] / loss["n_valid_examples"], new_state

    def step(params):
        (loss, new_state), gradients = jax.value_and_grad(mean_loss, has_aux=True)(params)
        return loss, jax.tree.map(lambda p, g: p - RATE * g, params, gradients), new_state

    return jax.jit(step, donate_argnums=0)(params)


def pytorch_step(runtime: Runtime, params, model_state, batch):
    """The same in PyTorch; the parameters are changed in place."""
    import torch

    logits, model_state = runtime.workload.model_fn(
        params, batch, model_state, ForwardPassMode.TRAIN, None, True
    )
    loss = runtime.workload.loss_fn(batch["targets"], logits)
    mean = loss["summed"] / loss["n_valid_examples"]
    mean.backward()
    torch.optim.SGD(params.parameters(), RATE).step()
    params.zero_grad()
    return mean.detach(), params, model_state


def checksums(params, framework: str) -> list[tuple[float, float]]:
    """Two sums over each parameter tensor; a change of some numbers shows in them."""
    if framework == "jax":
        import jax

        arrays = map(np.asarray, jax.tree.leaves(params))
    else:
        arrays = (parameter.detach().numpy() for parameter in params.parameters())
    return [(a.sum(dtype=np.float64), np.vdot(a, a).item()) for a in arrays]


def main(name: str, framework: str) -> None:
    """Runs the step and the evaluation, and prints what is described above."""
    prepare_environment(framework)
    definition = find_workload(name)
    runtime = create_runtime(framework, definition, {"train": 10, "validation": 10, "test": 10})
    batch = random_batch(definition)
    params, model_state = runtime.init_model(0, batch)
    before = checksums(params, framework)
    step = {"jax": jax_step, "pytorch": pytorch_step}[framework]
    (placed,) = runtime.place([batch])
    loss, params, model_state = step(runtime, params, model_state, placed)
    after = checksums(params, framework)
    weighted = {"weights": np.ones(BATCH_SIZE, np.float32), **batch}
    report = {
        "loss": float(loss),
        "changed": sum(a != b for a, b in zip(before, after, strict=True)),
        "metrics": runtime.evaluate(params, model_state, [weighted]),
        "num_values": sum(int(np.prod(shape)) for shape, _ in runtime.snapshot_spec().values()),
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
