"""Against the published logs of AlgoPerf 0.5 and 0.6 and the results of its own scorer.

AlgoPerf takes the trial with the lowest evaluation index for a study, this project the fastest one.
The two differ in the studies that ``SLOWER`` counts, where this project's time must be smaller.
"""

import csv
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from finishline.workload import Target
from scoring.profiles import benchmark_scores
from scoring.scores import compute_scores

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
VERSIONS = {"v05_external": "0.5", "v06_external": "0.6"}
SLOWER = {"v05_external": 35, "v06_external": 2}
# Finite ratios, and submissions with all their ratios, that are those of the published scorer.
COMPARABLE = {
    "v05_external": (52, ["amos", "lawa_queue", "shampoo_submission"]),
    "v06_external": (9, ["baseline", "shampoo"]),
}
ROUNDING = 1e-14  # the published scorer reads numbers from CSV with an error of 1 or 2 ulp
MINIMIZED = {"loss", "wer", "ppl"}

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"the published logs are not there ({GOLDEN})"
)


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", params=VERSIONS)
def golden(request, tmp_path_factory):
    """(name of the set, its directory, targets, base workloads, scores over all workloads)."""
    name = request.param
    content = json.loads((GOLDEN / "targets.json").read_text())[VERSIONS[name]]
    targets = {
        workload: Target(
            metric=entry["metric"],
            minimize=entry["metric"] in MINIMIZED,
            validation=entry["validation_target"],
            test=math.nan,
        )
        for workload, entry in content["targets"].items()
    }
    folder = tmp_path_factory.mktemp(name)
    with tarfile.open(GOLDEN / name / "logs.tar.xz") as archive:
        members = (one for one in archive if not one.name.endswith("hparams.json"))
        archive.extractall(folder, members=members, filter="data")
    scores = compute_scores(folder / name, targets=targets)
    return name, folder / name, targets, content["base_workloads"], scores


def test_time_of_each_study(golden):
    name, *_, scores = golden
    rows = read(GOLDEN / name / "per_study.csv")
    slower = 0
    for row in rows:
        number = int(row["study"].removeprefix("study_"))
        study = scores.studies[row["submission"], row["workload"], number]
        assert study.time == pytest.approx(float(row["min_time"]), rel=ROUNDING)
        assert study.num_reached == int(row["n_reached"])
        if study.time != pytest.approx(float(row["ref_time"]), rel=ROUNDING):
            assert study.time < float(row["ref_time"])
            slower += 1
    assert slower == SLOWER[name]
    assert sum(math.isfinite(study.time) for study in scores.studies.values()) == sum(
        int(row["n_reached"]) > 0 for row in rows
    )


def test_median_times(golden):
    name, *_, scores = golden
    published = {row.pop("submission"): row for row in read(GOLDEN / name / "time_to_targets.csv")}
    per_study = read(GOLDEN / name / "per_study.csv")
    slower = {
        (row["submission"], row["workload"])
        for row in per_study
        if float(row["min_time"]) < float(row["ref_time"])
    }
    assert set(published) == set(scores.submissions)
    for index, submission in enumerate(scores.submissions):
        for workload, cell in published.pop(submission).items():
            expected = math.inf if cell in ("", "nan") else float(cell)
            time = scores.times[index, scores.workloads.index(workload)]
            if (submission, workload) in slower:
                assert time <= expected * (1 + ROUNDING)
            else:
                assert time == pytest.approx(expected, rel=ROUNDING)


def test_scores_of_the_published_ratios(golden):
    name = golden[0]
    expected = {
        row["submission"]: float(row["score"])
        for row in read(GOLDEN / name / "scores_exact_integral.csv")
    }
    for row in read(GOLDEN / name / "ratios_after_filters.csv"):
        submission = row.pop("")
        ratios = np.array([[float(cell or math.inf) for cell in row.values()]])
        ratios[np.isnan(ratios)] = math.inf
        assert benchmark_scores(ratios)[0] == pytest.approx(expected[submission], abs=1e-12)


def test_ratios_and_scores(golden):
    """Wherever neither the rule for trials nor the held-out workloads make a difference.

    A ratio above 4 earns nothing, so it counts as equal to infinity here.
    """
    name, root, targets, base, _ = golden
    scores = compute_scores(root, targets=targets, workloads=base)
    published = {row.pop(""): row for row in read(GOLDEN / name / "ratios_after_filters.csv")}
    expected = {
        row["submission"]: float(row["score"])
        for row in read(GOLDEN / name / "scores_exact_integral.csv")
    }
    equal_cells, equal_scores = 0, []
    for index, submission in enumerate(scores.submissions):
        row = [float(published[submission][workload] or math.inf) for workload in base]
        row = np.nan_to_num(row, nan=math.inf, posinf=math.inf)
        ratios = np.where(scores.ratios[index] > 4, math.inf, scores.ratios[index])
        is_equal = np.isclose(ratios, row, rtol=ROUNDING, atol=0)
        equal_cells += int((is_equal & np.isfinite(row)).sum())
        if is_equal.all():
            equal_scores.append(submission)
            assert scores.scores[index] == pytest.approx(expected[submission], abs=1e-12)
    assert (equal_cells, sorted(equal_scores)) == COMPARABLE[name]
