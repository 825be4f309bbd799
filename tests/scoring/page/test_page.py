"""What is in the page before a browser has run its scripts."""

import base64
import gzip
import importlib.util
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from finishline.errors import UserError
from scoring import page

LARGEST = {
    "names": [f"submission_{index}" for index in range(11)],
    "workloads": [f"workload_{index}" for index in range(8)]
    + [f"workload_{index}_variant" for index in range(6)],
}


class _Rows(HTMLParser):
    """The texts of the cells of every row of every table, by the id of the section around it."""

    def __init__(self, html: str):
        super().__init__()
        self.section, self.rows, self.is_cell = "", {}, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "section":
            self.section = dict(attrs)["id"]
        elif tag == "tr":
            self.rows.setdefault(self.section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self.section][-1].append("")
        self.is_cell = tag in ("td", "th") or (self.is_cell and tag not in ("section", "script"))

    def handle_endtag(self, tag):
        self.is_cell = self.is_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.is_cell:
            self.rows[self.section][-1][-1] += data


def unpack(html: str, name: str) -> str:
    packed = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', html)
    return gzip.decompress(base64.b64decode(packed[1])).decode()


@pytest.fixture
def board(make_board):
    return make_board(["alpha", "beta", "gamma"], ["quartz", "flint", "quartz_variant"])


def test_ranking_and_times_are_there_without_javascript(board):
    document = board.document()
    rows = _Rows(page.render(document, board.curves)).rows
    assert [row[1] for row in rows["ranking"][1:]] == [
        one["name"] for one in document["submissions"]
    ]
    for row, one in zip(rows["ranking"][1:], document["submissions"], strict=True):
        assert f"{one['score']:.4f}" in row
    header, *times = rows["times"]
    assert "flint" in header[2]
    assert "loss ≤\N{NO-BREAK SPACE}0.3" in header[2]
    results = {(one["submission"], one["workload"]): one for one in board.results}
    for row in times:
        result = results[row[0], "flint"]
        assert f"{result['ratio']:.2f}×" in row[2]
        assert f"{result['trials_reached']}/{result['trials_run']}" in row[2]


def test_all_that_a_reader_must_know_is_said(board):
    html = page.render(board.document(), board.curves)
    for text in (
        "It ran 3 s too long.",
        "is not a submission; it is left out",
        "Without quartz the first place changes.",
        "fastest trial",
        "0.5000 as published, 0.5100 here",
        "1,000 bootstrap",
    ):
        assert text in html
    assert "The loss is not finite at step 2,000." in unpack(html, "data")


def test_same_board_same_page(board):
    assert page.render(board.document(), board.curves) == page.render(
        board.document(), board.curves
    )


def test_page_refers_to_nothing_outside(board):
    html = page.render(board.document(), board.curves)
    assert not re.search(r"\b(src|href|action)\s*=|@import|url\(", html)
    policy = re.search(r'Security-Policy" content="([^"]*)"', html)[1]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]


HOSTILE = "</script><script>document.title='x'</script><img src=x onerror=alert(1)>\"'"


def test_what_logs_say_is_escaped(make_board):
    board = make_board([HOSTILE, "beta"], [HOSTILE])
    document = board.document()
    for one in document["trials"]:
        one["message"] = HOSTILE
    for part in ("violations", "problems"):
        document[part] = [{"path": HOSTILE, "rule": HOSTILE, "reason": HOSTILE}]
    document["warnings"] = [{"kind": HOSTILE, "text": HOSTILE}]
    document["rules"]["explanation"] = document["rules"]["differences"] = [HOSTILE]
    document["results"][0]["filtered"] = HOSTILE
    document["submissions"][0]["statuses"] = {HOSTILE: 1}
    html = page.render(document, board.curves)
    assert "<img" not in html
    assert "document.title" in html
    assert len(re.findall("<script", html)) == 3


def test_largest_published_set_is_below_8_mb(make_board):
    board = make_board(**LARGEST, num_studies=5, num_trials=5, num_points=120)
    assert len(board.trials) == 3850
    assert len(page.render(board.document(), board.curves).encode()) < 8e6


def test_curves_are_thinned_but_keep_the_points_that_matter(board):
    time, value = np.arange(1000.0), np.linspace(0, 0.65, 1000)
    value[[333, 501, 777]] = [0.71, 0.99, np.nan]
    path = board.trials[0]["path"]
    html = page.render(board.document(), {path: (time.tolist(), time.tolist(), value.tolist())})
    trials = json.loads(unpack(html, "data"))["trials"]
    times, steps, values = next(one for one in trials if one["path"] == path)["curve"]
    assert times == steps
    assert len(times) <= page.MAX_POINTS
    assert {0, 333, 501, 999} <= set(times)
    assert values[times.index(501)] == 0.99
    assert "curve" not in next(one for one in trials if one["path"] != path)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.123456789, 0.12346), (63008.24, 63008), (1.5e-9, 1.5e-9), (-2.00004e7, -20000000)],
)
def test_rounding(value, rounded):
    (found,) = page._rounded(np.array([value]))
    assert found == rounded
    assert len(json.dumps(found)) <= len(json.dumps(rounded)) + 2


def test_what_is_not_finite_is_left_out():
    assert page._rounded(np.array([np.nan, 1.5, np.inf])) == [None, 1.5, None]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (99.996, "100.0"),
        (1234.56, "1,235"),
        (0.01234, "0.01234"),
        (3e-7, "3e-07"),
    ],
)
def test_numbers(value, text):
    assert page._number(value) == text


def test_board_with_the_least_there_can_be(board):
    document = board.document()
    document |= {"bootstrap": None, "reference": None, "violations": [], "problems": []}
    document |= {"warnings": []}
    document["rules"] |= {"strict": False, "num_trials": None, "benchmark_version": None}
    document["rules"]["differences"] = []
    for one in document["submissions"]:
        one |= dict.fromkeys(("score_interval", "rank_interval", "rank_probabilities", "speedup"))
        one |= {"leave_one_workload_out": {}, "leave_one_submission_out": {}}
        one["ledger"] = {"submission": 0.0, "evaluation": 0.0, "record_keeping": 0.0, "setup": None}
    nothing = ("framework", "time", "ratio", "time_resolution", "step_time", "first_step_sec")
    for one in document["results"]:
        one |= dict.fromkeys(nothing)
    unknown = ("framework", "status", "time", "steps", "best", "seconds", "hyperparameters")
    for one in document["trials"]:
        one |= dict.fromkeys((*unknown, "log_sha256")) | {"message": ""}
    html = page.render(document, {})
    assert "not recorded" in unpack(html, "data")
    assert "bootstrap" not in html.split("<script")[0]


def test_without_plotly_the_error_says_what_to_do(board, monkeypatch):
    page._plotly.cache_clear()
    fake = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(page, "importlib", fake)
    with pytest.raises(UserError, match="--nohtml"):
        page.render(board.document(), board.curves)
    assert importlib.util.find_spec("plotly")


def test_names_may_be_bytes_that_are_no_text(make_board):
    board = make_board(["alpha\udcff", "beta"], ["quartz"])
    html = page.render(board.document(), board.curves)
    assert "alpha\udcff" in html
    names = [one["name"] for one in json.loads(unpack(html, "data"))["submissions"]]
    assert sorted(names) == ["alpha\udcff", "beta"]
