import json

import numpy as np
import pytest

from finishline.errors import UserError
from finishline.tuning import SearchSpace, to_hyperparameters

RANGES = {
    "learning_rate": {"min": 1e-4, "max": 1e-1, "scaling": "log"},
    "momentum": {"min": 0, "max": 1, "scaling": "linear"},
    "layers": {"feasible_points": [1, 2, 3]},
    "style": {"feasible_points": ["a"]},
}
POINTS = [{"lr": 0.1 * k, "name": f"p{k}"} for k in range(5)]


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "tuning_search_space.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return SearchSpace.load(path)

    return load


def test_points_lie_in_the_space_and_keep_their_types(load):
    points = load(RANGES).points(64, seed=1)
    assert all(list(point) == list(RANGES) for point in points)
    assert all(1e-4 <= point["learning_rate"] <= 1e-1 for point in points)
    assert all(isinstance(point["momentum"], float) for point in points)
    assert {point["layers"] for point in points} == {1, 2, 3}
    assert all(isinstance(point["layers"], int) for point in points)
    assert {point["style"] for point in points} == {"a"}


def test_points_are_spread_evenly_on_the_scale(load):
    points = load(RANGES).points(300, seed=3)
    logs = np.log10([point["learning_rate"] for point in points])
    counts, _ = np.histogram(logs, bins=[-4, -3, -2, -1])
    np.testing.assert_allclose(counts, 100, atol=6)  # quasi-random: far more even than random
    counts, _ = np.histogram([point["momentum"] for point in points], bins=4, range=(0, 1))
    np.testing.assert_allclose(counts, 75, atol=6)


@pytest.mark.parametrize("space", [RANGES, POINTS])
def test_point_k_depends_on_the_seed_and_not_on_the_number_of_trials(load, space):
    space = load(space)
    assert space.points(5, seed=7)[:2] == space.points(2, seed=7)
    assert space.points(5, seed=7) != space.points(5, seed=8)


def test_fixed_points_are_drawn_without_replacement(load):
    drawn = load(POINTS).points(5, seed=2)
    assert sorted(drawn, key=lambda p: p["name"]) == POINTS
    assert [load(POINTS).points(1, seed=s)[0]["name"] for s in range(20)].count("p0") < 12


def test_a_range_of_one_value(load):
    for scaling in ("linear", "log"):
        space = load({"x": {"min": 0.3, "max": 0.3, "scaling": scaling}})
        assert space.points(3, seed=0) == [{"x": 0.3}] * 3


def test_hyperparameters():
    hyperparameters = to_hyperparameters({"learning_rate": 0.1, "style": "a"})
    assert hyperparameters.learning_rate == 0.1
    assert not hasattr(hyperparameters, "grad_clip")
    assert type(hyperparameters).__name__ == "Hyperparameters"
    assert type(hyperparameters) is type(to_hyperparameters({"learning_rate": 1, "style": 2}))
    assert hash(hyperparameters) == hash((0.1, "a"))
    assert to_hyperparameters(None) is None


def ranged(**changes):
    spec = {"min": 0.1, "max": 1.0, "scaling": "log"} | changes
    return {"lr": {key: value for key, value in spec.items() if value != "absent"}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"lr": {"min": 1,}}', ["line 1, column 18", "JSON"]),
        ("", ["line 1, column 1"]),
        ('{"lr": {"feasible_points": [1]}, "lr": {"feasible_points": [2]}}', ["'lr'", "2 times"]),
        ({}, ["no hyperparameters"]),
        ([], ["no hyperparameters"]),
        ("3", ["holds 3"]),
        ({"lr": 0.1}, ["'lr'", "0.1", "feasible_points"]),
        (ranged(scaling="lgo"), ["'lr'", "'lgo'", "did you mean 'log'?"]),
        (ranged(scaling="cubic"), ["'lr'", "'cubic'", "'linear' or 'log'"]),
        (ranged(scaling=None), ["'lr'", "None"]),
        (ranged(scaling="absent"), ["'lr'", "no 'scaling'"]),
        (ranged(max="absent"), ["'lr'", "no 'max'"]),
        (ranged(mx=1.0), ["'lr'", "'mx'", "did you mean 'max'?"]),
        (ranged(feasible_points=[1]), ["'lr'", "'min'", "alone"]),
        (ranged(min=2), ["'lr'", "min 2", "max 1", "swap"]),
        (ranged(min=0), ["'lr'", "log", "above 0"]),
        (ranged(min=-1e-3), ["'lr'", "-0.001", "above 0"]),
        (ranged(min="0.1"), ["'lr'", "'0.1'", "number"]),
        (ranged(min=True), ["'lr'", "True", "number"]),
        ('{"lr": {"min": NaN, "max": 1, "scaling": "linear"}}', ["'lr'", "nan", "finite"]),
        ('{"lr": {"min": 1, "max": Infinity, "scaling": "log"}}', ["'lr'", "inf", "finite"]),
        ('{"lr": {"min": 1, "max": 1' + "0" * 400 + ', "scaling": "log"}}', ["'lr'", "finite"]),
        ({"lr": {"feasible_points": []}}, ["'lr'", "[]"]),
        ({"lr": {"feasible_points": 0.1}}, ["'lr'", "0.1", "list"]),
        ({"lr": {"feasible_points": [[0.9, 0.99]]}}, ["'lr'", "[0.9, 0.99]"]),
        ({"lr": {"feasible_point": [1]}}, ["'lr'", "did you mean 'feasible_points'?"]),
        ({"learning rate": {"feasible_points": [1]}}, ["'learning rate'", "underscores"]),
        ({"lambda": {"feasible_points": [1]}}, ["'lambda'"]),
        ({"_lr": {"feasible_points": [1]}}, ["'_lr'"]),
        ([1], ["point 1", "object"]),
        ([{}], ["point 1"]),
        ([{"warmup": 1}, {"warmpu": 2}], ["point 2", "'warmpu'", "'warmup'"]),
        ([{"lr": 1}, {"lr": 1, "lambda": 2}], ["'lambda'", "letters"]),
        ([{"lrate": 1}, {"lrat": 1}], ["point 2", "'lrat'", "'lrate'"]),
        ('[{"lr": NaN}]', ["'lr'", "point 1", "nan"]),
    ],
)
def test_faults_are_told_in_one_sentence(load, content, words):
    with pytest.raises(UserError) as caught:
        load(content)
    message = str(caught.value)
    for word in ["tuning_search_space.json", *words]:
        assert word in message
    assert "\n" not in message
    assert message[-1] in ".?"


def test_more_trials_than_points(load):
    with pytest.raises(UserError, match=r"lists 5 points, fewer than the 6 trials"):
        load(POINTS).points(6, seed=0)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"There is no search space .*absent\.json"):
        SearchSpace.load(tmp_path / "absent.json")


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        SearchSpace.load(tmp_path)
