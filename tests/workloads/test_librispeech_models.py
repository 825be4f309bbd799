"""What both models of LibriSpeech make of an utterance, however far its batch is filled up."""

import jax
import numpy as np
import pytest
import torch

from finishline.workload import find_workload
from workloads.librispeech.source import UtteranceSource

LENGTHS = (15_360, 23_040, 38_400)
NAMES = ("librispeech_conformer", "librispeech_deepspeech")


@pytest.fixture(scope="module")
def source():
    """Noise of several lengths."""
    generator = np.random.default_rng(0)
    num_samples = np.array([15_360, 9_999, 4_321, 401], np.int32)
    samples = generator.normal(scale=1000, size=num_samples.sum()).astype(np.int16)
    tokens = np.array([1, 2, 3, 4], np.int32)
    counts = np.ones(4, np.int32)
    shard = {"num_samples": num_samples, "num_tokens": counts, "samples": samples, "tokens": tokens}
    return UtteranceSource([shard], LENGTHS, 4)


def filled_batches(source):
    """The same utterances, filled up to each of the lengths."""
    for length in LENGTHS:
        lengths = UtteranceSource(source.shards, [length], 4)
        yield lengths.gather(np.arange(len(source)))


def assert_alike(results):
    (first, first_paddings), *others = results
    count = first.shape[1]
    is_real = first_paddings == 0
    assert is_real.any(axis=1).all()
    for logits, paddings in others:
        np.testing.assert_array_equal(paddings[:, :count], first_paddings)
        assert (paddings[:, count:] == 1).all()
        np.testing.assert_allclose(logits[:, :count][is_real], first[is_real], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_filling_changes_nothing_in_jax(name, source):
    model = find_workload(name).shrunk().build_model("jax")
    batches = list(filled_batches(source))
    init = jax.jit(
        lambda batch: model.init(jax.random.key(0), batch, train=False, dropout_rate=0.0)
    )
    variables = init(batches[0])
    apply = jax.jit(lambda batch: model.apply(variables, batch, train=False, dropout_rate=0.0))
    assert_alike([jax.device_get(apply(batch)) for batch in batches])


@pytest.mark.parametrize("name", NAMES)
def test_filling_changes_nothing_in_pytorch(name, source):
    torch.manual_seed(0)
    model = find_workload(name).shrunk().build_model("pytorch").eval()
    results = []
    for batch in filled_batches(source):
        with torch.no_grad():
            tensors = {field: torch.tensor(array) for field, array in batch.items()}
            results.append([x.numpy() for x in model(tensors, dropout_rate=0.0)])
    assert_alike(results)
