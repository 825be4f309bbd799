"""The suites name workloads that exist, and each workload is where one looks for it."""

from finishline.benchmark import NEWEST, bases, load_version
from finishline.suites import all_suites
from finishline.workload import all_workloads

WORKLOADS = all_workloads()
SUITES = {name: suite.workloads for name, suite in all_suites().items()}


def test_every_name_exists_once():
    for names in SUITES.values():
        assert names
        assert set(names) <= set(WORKLOADS)
        assert len(set(names)) == len(names)


def test_every_mini_is_in_mini():
    assert set(SUITES["mini"]) == {name for name in WORKLOADS if name.endswith("_mini")}


def test_every_published_workload_is_in_full_or_among_the_variants():
    scored = load_version(NEWEST).base_workloads
    published = {name for name in WORKLOADS if bases().get(name) in scored}
    full, variants = set(SUITES["full"]), set(SUITES["variants"])
    assert full | variants == published
    assert full == {name for name in published if bases()[name] == name}
    assert set(SUITES["qualification"]) <= full


def test_what_runs_anywhere_is_embedded():
    for suite in ("mini", "demo", "embedded"):
        assert all(WORKLOADS[name].is_embedded for name in SUITES[suite])
    assert set(SUITES["demo"]) <= set(SUITES["mini"])
    assert len({WORKLOADS[name].loss_type for name in SUITES["demo"]}) == 3
