"""The published numbers, read back against a few of AlgoPerf's own and against each other."""

import math

import pytest

from finishline.benchmark import (
    NEWEST,
    VERSIONS,
    bases,
    definition_for,
    load_version,
    published,
    quirk_texts,
    targets,
)
from finishline.errors import UserError
from finishline.workload import find_workload


def test_published_numbers_are_those_of_the_newest_version():
    fields = published("criteo1tb")
    target = fields.pop("target")
    assert (target.metric, target.minimize) == ("loss", True)
    assert (target.validation, target.test) == (0.123735, 0.126041)
    assert fields == {
        "max_allowed_runtime_sec": 8915,
        "eval_period_time_sec": 356,
        "step_hint": 10666,
    }


def test_a_variant_has_its_own_target_and_the_numbers_of_its_base():
    base, variant = published("imagenet_vit"), published("imagenet_vit_glu")
    assert variant["target"].validation == 0.75738
    assert variant["target"].test == 0.6359
    assert base.pop("target") != variant.pop("target")
    assert base == variant


def test_every_target_has_a_test_value_but_where_there_is_no_test_split():
    assert [name for name, one in targets().items() if math.isnan(one.test)] == ["finewebedu_lm"]
    for name, target in targets().items():
        base = targets()[bases()[name]]
        assert (target.metric, target.minimize) == (base.metric, base.minimize)
        assert target.validation > 0


@pytest.mark.parametrize("name", VERSIONS)
def test_a_version_has_the_numbers_of_all_its_workloads_on_all_its_hardware(name):
    version = load_version(name)
    assert {*version.base_workloads, "cifar", "mnist"} == set(version.workloads)
    quirks = frozenset[str]().union(*(one.quirks for one in version.workloads.values()))
    assert quirks == set(quirk_texts())
    assert set(version.held_out_workloads) <= set(targets())
    assert version.float32_matmul_precision in ("highest", "high")
    for numbers in version.workloads.values():
        assert set(numbers.max_allowed_runtime_sec) == set(version.hardware)
        assert set(numbers.eval_period_time_sec) == set(version.hardware)
        assert numbers.step_hint > 0


@pytest.mark.parametrize(
    ("version", "hardware", "budget", "period", "steps"),
    [
        ("0.5", None, 8859, 80, 36189),
        ("0.6", None, 4430, 80, 18094),
        ("0.6", "4xA100", 2745, 110, 18094),
        ("1.0", None, 2745, 110, 18094),
    ],
)
def test_a_definition_takes_the_numbers_of_a_version(version, hardware, budget, period, steps):
    workload = find_workload("mnist").variant("fastmri_tanh")
    made = definition_for(workload, version, hardware)
    assert made.max_allowed_runtime_sec == budget
    assert made.eval_period_time_sec == period
    assert made.step_hint == steps
    assert made.target == targets()["fastmri_tanh"]
    assert made.quirks == {"frozen_masks"}
    assert made.matmul_precision == ("high" if version == "1.0" else "highest")
    assert (made.package, made.dataset) == (workload.package, workload.dataset)


def test_a_workload_from_after_a_version_has_the_numbers_it_came_with():
    workload = find_workload("mnist").variant("finewebedu_lm")
    assert definition_for(workload, "0.5").max_allowed_runtime_sec == 31967


@pytest.mark.parametrize("version", VERSIONS)
def test_workloads_that_algoperf_does_not_have_are_the_same_in_every_version(version):
    digits, mnist = find_workload("digits"), find_workload("mnist")
    assert definition_for(digits, version) is digits
    made = definition_for(mnist, version)
    assert vars(made) == vars(mnist)


def test_what_there_is_not_is_said_in_one_sentence():
    with pytest.raises(UserError, match=r"no version '2\.0'.*0\.5, 0\.6, 1\.0"):
        load_version("2.0")
    with pytest.raises(UserError, match="--hardware=8xV100 or --hardware=4xA100"):
        definition_for(find_workload("digits"), "0.6", "1xH100")
    with pytest.raises(KeyError):
        published("digits")
    assert NEWEST == "1.0"
