"""OGBG's graph network, loss and metric, against plain references."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from parity import QUICK_COMPILATION
from sklearn.metrics import average_precision_score

from finishline.data.pipeline import evaluation_batches, pad_to_multiple
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.spec import LossType
from finishline.workload import all_workloads
from workloads.ogbg import molecules
from workloads.ogbg.scoring import METRIC, PrecisionScorer
from workloads.ogbg.source import GraphSource

FRAMEWORKS = ["jax", "pytorch"]
TASKS = 16
SIGMOID = LossType.SIGMOID_CROSS_ENTROPY


@pytest.fixture(scope="module")
def source():
    return GraphSource(molecules.make_up(60, TASKS), nodes_per_graph=16, edges_per_graph=33)


class Network:
    """A small model with the same weights in both frameworks."""

    def __init__(self, name, batch):
        workload = all_workloads()[name].shrunk()
        self.config = workload.model_config
        self.model = workload.build_model("jax")
        options = {"train": False, "dropout_rate": 0.0}
        init = functools.partial(self.model.init, **options)
        first = jax.jit(init, compiler_options=QUICK_COMPILATION)(jax.random.key(0), batch)[
            "params"
        ]
        apply = functools.partial(self.model.apply, **options)
        self.apply = jax.jit(apply, compiler_options=QUICK_COMPILATION)
        generator = np.random.default_rng(0)
        self.params = jax.tree.map(
            lambda p: np.asarray(p + generator.normal(0, 0.05, p.shape), np.float32), first
        )
        self.module = workload.build_model("pytorch")
        state = flax_to_torch_state_dict(self.params, {})
        self.module.load_state_dict({name: torch.tensor(array) for name, array in state.items()})

    def logits(self, framework, batch):
        if framework == "jax":
            return np.asarray(self.apply({"params": self.params}, batch))
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        with torch.no_grad():
            return self.module.eval()(tensors, dropout_rate=0.0).numpy()


NAMES = ["ogbg", "ogbg_gelu", "ogbg_silu", "ogbg_model_size"]


@pytest.fixture(scope="module", params=NAMES)
def network(request, source):
    return Network(request.param, source.gather(np.arange(2)))


def perceptron(params, x, activation):
    """The layers of one perceptron, for one row."""
    for index in range(len(params) // 2):
        dense, norm = params[f"dense_{index}"], params[f"norm_{index}"]
        x = x @ dense["kernel"] + dense["bias"]
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-6) * norm["scale"] + norm["bias"]
        x = {
            "relu": lambda x: np.maximum(x, 0),
            "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
            "silu": lambda x: x / (1 + np.exp(-x)),
        }[activation](x)
    return x


def logits_slowly(params, config, batch, graph):
    """The logits of one graph, edge by edge and node by node."""
    params = jax.tree.map(lambda p: p.astype(np.float64), params)
    members = np.flatnonzero(batch["graph_of_node"] == graph)
    edges = np.flatnonzero(batch["graph_of_edge"] == graph)

    def embedded(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    h = {node: embedded("node_embedder", batch["inputs"][node]) for node in members}
    m = {edge: embedded("edge_embedder", batch["edges"][edge]) for edge in edges}
    whole = np.zeros(config["num_outputs"])
    ends = {edge: (batch["senders"][edge], batch["receivers"][edge]) for edge in edges}
    for index in range(config["num_steps"]):
        step = params[f"step_{index}"]

        def update(name, *inputs, step=step):
            return perceptron(step[name], np.concatenate(inputs), config["activation"])

        m = {e: update("edge", m[e], h[s], h[r], whole) for e, (s, r) in ends.items()}
        zero = np.zeros(config["hidden_dims"][-1])
        sent = {n: sum((m[e] for e in edges if ends[e][0] == n), zero) for n in members}
        received = {n: sum((m[e] for e in edges if ends[e][1] == n), zero) for n in members}
        h = {n: update("node", h[n], sent[n], received[n], whole) for n in members}
        whole = update("graph", sum(h.values()), sum(m.values()), whole)
    return whole @ params["decoder"]["kernel"] + params["decoder"]["bias"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_network_is_that_of_a_plain_reference(network, framework, source):
    batch = source.gather(np.arange(4))
    actual = network.logits(framework, batch)
    for graph in (1, 4):
        expected = logits_slowly(network.params, network.config, batch, graph)
        np.testing.assert_allclose(actual[graph], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_graph_knows_nothing_of_its_neighbours_and_of_filling(framework, source):
    network = Network("ogbg", source.gather(np.arange(2)))
    together = network.logits(framework, source.gather(np.arange(6)))
    for graph in (0, 3, 5):
        alone = source.gather(np.array([graph]))
        filled = pad_to_multiple(alone, 72)
        for batch in (alone, filled):
            logits = network.logits(framework, batch)
            np.testing.assert_allclose(logits[1], together[1 + graph], rtol=1e-4, atol=1e-5)
    assert len(np.unique(together[1:7], axis=0)) == 6


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_graph_without_edges_has_an_output(framework):
    graphs = molecules.make_up(3, TASKS)
    none = np.zeros(3, np.int32)
    lonely = graphs._replace(num_edges=none, edges=graphs.edges[:0], ends=graphs.ends[:0])
    source = GraphSource(lonely, nodes_per_graph=16, edges_per_graph=33)
    batch = source.gather(np.arange(3))
    assert np.isfinite(Network("ogbg", batch).logits(framework, batch)).all()


def test_parts_of_ranks_add_up_to_the_gradient_of_the_batch(source):
    network = Network("ogbg", source.gather(np.arange(2)))

    def gradient(batches):
        network.module.train().zero_grad()
        for batch in batches:
            tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
            logits = network.module(tensors, dropout_rate=0.0)
            loss = torch_loss(SIGMOID, tensors["targets"], logits, tensors["weights"])
            loss["summed"].backward()
        return torch.cat([p.grad.flatten().clone() for p in network.module.parameters()])

    def batches(**ranks):
        return source.training_batches(batch_size=30, seed=0, **ranks)

    whole = gradient([next(batches())])
    parts = gradient([next(batches(rank=rank, world_size=3)) for rank in range(3)])
    assert torch.linalg.vector_norm(parts - whole) < 1e-4 * torch.linalg.vector_norm(whole)


def losses(framework, targets, logits, mask=None, smoothing=0.0):
    arrays = [targets, logits] + ([] if mask is None else [mask])
    if framework == "jax":
        found = jax_loss(SIGMOID, *map(jnp.asarray, arrays), label_smoothing=smoothing)
    else:
        found = torch_loss(SIGMOID, *map(torch.from_numpy, arrays), label_smoothing=smoothing)
    return {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_loss_is_that_of_each_labelled_task(framework):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (7, 5)).astype(np.float32)
    targets = generator.integers(0, 2, (7, 5)).astype(np.float32)
    mask = generator.integers(0, 2, (7, 5)).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(float)))
    for smoothing in (0.0, 0.2):
        y = targets * (1 - smoothing) + smoothing / 2
        expected = -y * np.log(p) - (1 - y) * np.log(1 - p)
        found = losses(framework, targets, logits, mask, smoothing)
        np.testing.assert_allclose(found["per_example"], expected * mask, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["summed"], (expected * mask).sum(), rtol=1e-5)
        assert found["n_valid_examples"] == mask.sum()
    single = losses(framework, targets[:, :1], logits[:, :1], mask[:, 0])
    assert single["per_example"].shape == (7,)
    assert single["n_valid_examples"] == mask[:, 0].sum()
    assert losses(framework, targets, logits)["n_valid_examples"] == targets.size


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_the_metric_is_the_librarys_on_the_whole_split(source, batch_size):
    generator = np.random.default_rng(1)
    scores = generator.normal(size=(len(source), TASKS)).astype(np.float32)
    scorer = PrecisionScorer(all_workloads()["ogbg"], Path())
    done = 0
    for batch in evaluation_batches(source, batch_size):
        count = len(np.unique(batch["graph_of_node"])) - 1
        logits = generator.normal(size=batch["targets"].shape).astype(np.float32)  # of filling
        logits[1 : 1 + count] = scores[done : done + count]
        scorer.add(batch, {"logits": logits})
        done += count
    assert done == len(source)
    labels = source.gather(np.arange(len(source)))
    expected = []
    for task in range(TASKS):
        known = labels["weights"][1 : 1 + done, task] == 1
        truth = labels["targets"][1 : 1 + done, task][known]
        if 0 < truth.sum() < len(truth):
            expected.append(average_precision_score(truth, scores[:done, task][known]))
    assert 1 < len(expected) <= TASKS
    assert scorer.result() == {METRIC: pytest.approx(np.mean(expected), rel=1e-12)}


def test_tasks_of_one_class_do_not_count():
    scorer = PrecisionScorer(all_workloads()["ogbg"], Path())
    targets = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 0]], np.float32)
    weights = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]], np.float32)
    logits = np.array([[1, 0, 1], [2, 1, 0], [0, 2, 2]], np.float32)
    scorer.add({"targets": targets, "weights": weights}, {"logits": logits})
    assert scorer.result() == {METRIC: 0.5}  # of the first task alone: its 1 is the second of 3
    scorer = PrecisionScorer(all_workloads()["ogbg"], Path())
    scorer.add({"targets": targets[:, 1:], "weights": weights[:, 1:]}, {"logits": logits[:, 1:]})
    assert np.isnan(scorer.result()[METRIC])


def test_training_finds_the_motifs(source):
    """In some steps of Adam the loss falls far below that of the labels' shares."""
    batch = jax.device_put(source.gather(np.arange(40)))
    network = Network("ogbg", batch)
    optimizer = optax.adam(3e-3)

    @functools.partial(jax.jit, compiler_options=QUICK_COMPILATION)
    def step(params, state):
        def loss(params):
            logits = network.model.apply({"params": params}, batch, train=True, dropout_rate=0.0)
            found = jax_loss(SIGMOID, batch["targets"], logits, batch["weights"])
            return found["summed"] / found["n_valid_examples"]

        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    params, state = network.params, optimizer.init(network.params)
    values = []
    for _ in range(150):
        params, state, value = step(params, state)
        values.append(float(value))
    assert values[-1] < 0.25 < values[0]
