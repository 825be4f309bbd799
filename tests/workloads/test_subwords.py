"""Subword vocabularies: training is reproducible, and text survives."""

import pickle

import pytest

from finishline.errors import UserError
from workloads.subwords import SpecialIds, Subwords, train

SENTENCES = [f"the {colour} house number {n} has {n} doors" for n in range(40) for colour in "ab"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("subwords") / "new folder" / "model"
    train(SENTENCES, path, vocab_size=60)
    return path


def test_text_survives(model):
    subwords = Subwords(model)
    for sentence in SENTENCES:
        ids = subwords.encode(sentence)
        assert subwords.decode(ids) == sentence
        assert min(ids) > 2
        assert max(ids) < subwords.size
    assert subwords.encode("") == []
    assert subwords.decode([]) == ""


def test_a_unigram_vocabulary_joins_frequent_letters(model):
    subwords = Subwords(model)
    assert len(subwords.encode(SENTENCES[0])) < len(SENTENCES[0])


def test_training_is_reproducible(model, tmp_path):
    train(iter(SENTENCES), tmp_path / "again", vocab_size=60)
    assert (tmp_path / "again").read_bytes() == model.read_bytes()


def test_special_pieces_have_the_ids_asked_for(tmp_path):
    train(SENTENCES, tmp_path / "model", vocab_size=60, special_ids=SpecialIds(0, 3, 1, 2))
    subwords = Subwords(tmp_path / "model")
    assert 3 in subwords.encode("\u4e00")
    assert subwords.decode([0, 1, 2]) == ""


def test_too_little_text_gives_a_smaller_vocabulary(tmp_path):
    train(SENTENCES, tmp_path / "model", vocab_size=32_000)
    assert 30 < Subwords(tmp_path / "model").size < 1_000


def test_a_vocabulary_can_be_pickled(model):
    subwords = pickle.loads(pickle.dumps(Subwords(model)))
    assert subwords.decode(subwords.encode(SENTENCES[3])) == SENTENCES[3]


def test_errors_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"absent.*workloads\.prepare"):
        Subwords(tmp_path / "absent")
    (tmp_path / "broken").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"broken.*delete it"):
        Subwords(tmp_path / "broken")
    with pytest.raises(UserError, match="empty"):
        train([], tmp_path / "empty", vocab_size=100)
    assert not (tmp_path / "empty").exists()
