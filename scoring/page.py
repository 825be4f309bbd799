"""The leaderboard as one HTML page that opens from disk without a network.

The ranking and the tables of times are HTML, for readers without JavaScript; the rest is drawn in
the browser from compressed data in the page. A content security policy in the page admits its own
scripts by their hash and nothing else, so that no name or message from a log can run or load
anything, and the page sends nothing.
"""

import base64
import functools
import gzip
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from finishline.errors import UserError

Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]

MAX_POINTS = 60  # of a trial's learning curve; the logs have all
_FILES = Path(__file__).with_name("page")
_SCRIPTS = ("data.js", "filters.js", "plots.js", "tables.js", "main.js")
_DIGITS = 5
_NOTHING = "–"


def render(document: Mapping[str, Any], curves: Mapping[str, Curve]) -> str:
    """The page.

    Args:
      document: what ``scores.json`` has (see ``scoring/schema.json``).
      curves: for each trial's path its evaluations: submission times in seconds, steps, and values
        of the validation target metric, each of shape (evaluations,). Longer ones than
        ``MAX_POINTS`` are thinned; the first, best, last and first to meet the target stay.

    Returns:
      HTML. The same arguments give the same text.

    Raises:
      UserError: Plotly is not installed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=_breakable,
        number=_number,
        percent=_percent,
        goal=_goal,
        status=_status,
        step_time=_step_time,
    )
    script = "\n".join((_FILES / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    plotly, plotly_hash = _plotly()
    policy = (
        f"default-src 'none'; script-src '{_source_hash(script)}' '{plotly_hash}';"
        " style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html.j2").render(
        document=document,
        **_views(document),
        policy=Markup(policy),
        style=Markup((_FILES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        plotly=Markup(plotly),
        data=Markup(_pack(json.dumps(_data(document, curves), allow_nan=False).encode())),
    )


def _views(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates need beside the document: the same figures by row, column and place."""
    names = [one["name"] for one in document["submissions"]]
    workloads = [one["name"] for one in document["workloads"]]
    trials = {one["path"]: one for one in document["trials"]}
    cells = {(one["submission"], one["workload"]): one for one in document["results"]}
    listing = "".join(
        f"{one['log_sha256']}  {path}\n"
        for path, one in sorted(trials.items())
        if one["log_sha256"] is not None
    )

    def place(one: Mapping[str, Any]) -> Markup:
        """The attributes by which the filters know a line about a result or a path."""
        place = one if "submission" in one else trials.get(one["path"], {})
        submission = place.get("submission") or one["path"].split("/")[0]
        found = {"s": (names, submission), "w": (workloads, place.get("workload"))}
        found["f"] = (_frameworks(document), place.get("framework"))
        return Markup(
            "".join(
                f' data-{k}="{every.index(v)}"' for k, (every, v) in found.items() if v in every
            )
        )

    return {
        "cells": cells,
        "place": place,
        "frameworks": _frameworks(document),
        "submission_columns": [
            (index, one["name"], one["rank"]) for index, one in enumerate(document["submissions"])
        ],
        "base_columns": [
            (index, one["name"], None)
            for index, one in enumerate(document["workloads"])
            if one["role"] == "base"
        ],
        "counts": {
            role: sum(one["role"] == role for one in document["workloads"])
            for role in ("base", "held_out")
        },
        "statuses": sorted(
            {status for one in document["submissions"] for status in one["statuses"]}
        ),
        "filtered": [one for one in document["results"] if one["filtered"]],
        "listing_sha256": hashlib.sha256(
            listing.encode("utf-8", "surrogateescape")  # a path may be bytes that are no text
        ).hexdigest(),
        "num_hashed": listing.count("\n"),
    }


def _data(document: Mapping[str, Any], curves: Mapping[str, Curve]) -> dict[str, Any]:
    """What the scripts draw; submissions and workloads are known by their index."""
    submissions = {one["name"]: index for index, one in enumerate(document["submissions"])}
    workloads = {one["name"]: index for index, one in enumerate(document["workloads"])}
    counting = {
        (one["submission"], one["workload"], one["study"], one["trial"])
        for one in document["studies"]
    }

    def indexed(one: Mapping[str, Any]) -> dict[str, Any]:
        places = {"s": submissions[one["submission"]], "w": workloads[one["workload"]]}
        rest = {key: one[key] for key in one if key not in ("submission", "workload")}
        return rest | places

    trials = []
    for one in document["trials"]:
        if one["submission"] not in submissions or one["workload"] not in workloads:
            continue
        workload = document["workloads"][workloads[one["workload"]]]
        trial = indexed(one)
        trial["status"] = _status(one["status"])
        trial["counts"] = (
            one["submission"],
            one["workload"],
            one["study"],
            one["trial"],
        ) in counting
        if one["path"] in curves:
            trial["curve"] = _thinned(curves[one["path"]], workload)
        trials.append(trial)
    return {
        "maxRatio": document["rules"]["max_ratio"],
        "workloads": [one | {"goal": _goal(one)} for one in document["workloads"]],
        "submissions": [{"name": one["name"]} for one in document["submissions"]],
        "frameworks": _frameworks(document),
        "results": [indexed(one) for one in document["results"]],
        "studies": [indexed(one) for one in document["studies"]],
        "profiles": document["profiles"],
        "trials": trials,
    }


def _thinned(curve: Curve, workload: Mapping[str, Any]) -> list[list[float | int | None]]:
    """Times, steps and values at no more than ``MAX_POINTS`` evaluations, rounded."""
    time, step, value = (np.asarray(part, dtype=float) for part in curve)
    if len(value) > MAX_POINTS:
        sign = 1.0 if workload["minimize"] else -1.0
        costs = np.where(np.isfinite(value), sign * value, np.inf)
        hits = np.flatnonzero(costs <= sign * workload["target"])
        wanted = [int(costs.argmin()), *hits[:1].tolist()]
        even = np.linspace(0, len(value) - 1, MAX_POINTS - len(wanted)).round().astype(int)
        kept = np.union1d(even, wanted)
        time, step, value = time[kept], step[kept], value[kept]
    return [_rounded(time), _rounded(step, digits=12), _rounded(value)]


def _rounded(values: np.ndarray, digits: int = _DIGITS) -> list[float | int | None]:
    """To significant digits, for short JSON; None for what is not finite."""
    finite = np.isfinite(values)
    sizes = np.where(finite & (values != 0), np.abs(values), 1.0)
    powers = digits - 1 - np.floor(np.log10(sizes))
    # Dividing by whole powers of ten is exact enough for the shortest decimals; the rest is not.
    up, down = 10.0 ** np.maximum(powers, 0), 10.0 ** np.maximum(-powers, 0)
    rounded = np.rint(np.where(finite, values, 0.0) * up / down) * down / up
    if finite.all():
        whole = rounded == np.rint(rounded)
        return (rounded.astype(np.int64) if whole.all() else rounded).tolist()
    return [one if good else None for one, good in zip(rounded.tolist(), finite, strict=True)]


def _frameworks(document: Mapping[str, Any]) -> list[str]:
    parts = (*document["results"], *document["trials"])
    return sorted({one["framework"] for one in parts if one["framework"] is not None})


@functools.cache
def _plotly() -> tuple[str, str]:
    """Plotly's library, packed, and its hash for the policy."""
    # Importing the package takes longer than all of the page, and only its data are needed.
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise UserError(
            "leaderboard.html is drawn with Plotly, which is not installed; install it with"
            " `make setup`, or leave the page out with --nohtml."
        )
    text = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")
    return _pack(text.encode()), _source_hash(text)


def _source_hash(script: str) -> str:
    """A script's name in a content security policy: https://www.w3.org/TR/CSP3/#source-list."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _pack(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _breakable(name: str) -> Markup:
    """A name that may be broken into lines after its signs, as identifiers else may not."""
    return Markup(re.sub(r"([_/.]|-)(?=\w)", r"\1<wbr>", str(escape(name))))


def _number(value: float | None, digits: int = 4) -> str:
    """At most ``digits`` significant digits before or after the point, thousands with commas."""
    if value is None or not math.isfinite(value):
        return _NOTHING
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(float(f"{abs(value):.{digits}g}")))
    if decimals > digits + 1:
        return f"{value:.{digits - 1}g}"
    return f"{value:,.{max(0, decimals)}f}"


def _percent(share: float | None) -> str:
    return _NOTHING if share is None else f"{100 * share:.{0 if share >= 0.1 else 1}f} %"


def _goal(workload: Mapping[str, Any]) -> str:
    sign = "≤" if workload["minimize"] else "≥"
    return f"{workload['metric']} {sign}\N{NO-BREAK SPACE}{workload['target']:.6g}"


def _status(status: str | None) -> str:
    """For people; published logs do not say how a trial ended."""
    return status.replace("_", " ") if status else "not recorded"


def _step_time(band: Mapping[str, float] | None) -> str:
    if band is None:
        return _NOTHING
    low, middle, high = (_number(band[key], 3) for key in ("p10", "median", "p90"))
    return f"{middle} ({low} to {high})"
