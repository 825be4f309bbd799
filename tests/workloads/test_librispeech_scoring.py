"""The word error rate of a split, against jiwer on all of it at once."""

import jiwer
import numpy as np
import pytest

from finishline.workload import find_workload
from workloads import subwords
from workloads.librispeech.dataset import LIBRISPEECH_MINI
from workloads.librispeech.formants import WORDS
from workloads.librispeech.scoring import QUIRK, WordErrorScorer

NUM_UTTERANCES = 50


def definition(quirks=frozenset()):
    mini = find_workload("librispeech_conformer_mini")
    return mini.variant(mini.name, quirks=quirks)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    subwords.train(WORDS, LIBRISPEECH_MINI.vocabulary(folder), vocab_size=32)
    return folder


def texts():
    """References, and hypotheses with words that are other, missing and added."""
    generator = np.random.default_rng(0)
    references, hypotheses = [], []
    for number in range(NUM_UTTERANCES):
        words = generator.choice(WORDS, generator.integers(1, 6)).tolist()
        references.append(" ".join(words))
        kept = [word for word in words if generator.random() > 0.2]
        extra = generator.choice(WORDS, generator.integers(0, 3)).tolist()
        hypotheses.append("" if number == 7 else " ".join(kept + extra))
    return references, hypotheses


def rows(sentences, pieces, length, *, end):
    padded = np.zeros((len(sentences), length), np.int32)
    for row, sentence in zip(padded, sentences, strict=True):
        ids = pieces.encode(sentence) + [subwords.LIBRARY_IDS.end] * end
        row[: len(ids)] = ids
    return padded


def score(data_dir, batch_size, quirks=frozenset()):
    pieces = subwords.Subwords(LIBRISPEECH_MINI.vocabulary(data_dir))
    references, hypotheses = texts()
    targets = rows(references, pieces, 64, end=True)
    tokens = rows(hypotheses, pieces, 80, end=True)
    scorer = WordErrorScorer(definition(quirks), data_dir)
    for start in range(0, NUM_UTTERANCES, batch_size):
        part = slice(start, start + batch_size)
        filling = batch_size - len(targets[part])
        weights = np.array([1.0] * len(targets[part]) + [0.0] * filling, np.float32)
        pad = ((0, filling), (0, 0))
        filled = np.pad(tokens[part], pad, constant_values=9)  # not silence: it must not count
        scorer.add({"targets": np.pad(targets[part], pad), "weights": weights}, {"tokens": filled})
    return scorer.result()


@pytest.mark.parametrize("batch_size", [1, 7, 16, 50, 64])
def test_it_is_jiwers_of_the_whole_split(data_dir, batch_size):
    references, hypotheses = texts()
    assert score(data_dir, batch_size) == {"wer": jiwer.wer(references, hypotheses)}


def test_the_quirk_counts_two_words_more_in_each_utterance(data_dir):
    references, _ = texts()
    num_words = sum(len(text.split()) for text in references)
    errors = score(data_dir, 16)["wer"] * num_words
    inflated = score(data_dir, 16, frozenset({QUIRK}))["wer"]
    assert inflated == pytest.approx(errors / (num_words + 2 * NUM_UTTERANCES))


def test_ids_beyond_the_vocabulary_are_no_text(data_dir):
    pieces = subwords.Subwords(LIBRISPEECH_MINI.vocabulary(data_dir))
    targets = rows(["KATO"], pieces, 8, end=True)
    tokens = targets.copy()
    tokens[0, -1] = pieces.size + 5
    scorer = WordErrorScorer(definition(), data_dir)
    scorer.add({"targets": targets, "weights": np.ones(1, np.float32)}, {"tokens": tokens})
    assert scorer.result() == {"wer": 0.0}


def test_nothing_scored_is_not_a_number(data_dir):
    assert np.isnan(WordErrorScorer(definition(), data_dir).result()["wer"])
