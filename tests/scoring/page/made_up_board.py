"""Made-up boards in the format of ``scores.json``."""

import itertools
from typing import Any

import numpy as np


class Board:
    """A document and its curves: random, but the same each time and without contradictions."""

    def __init__(
        self,
        names: list[str],
        workloads: list[str],
        *,
        num_studies: int = 3,
        num_trials: int = 2,
        num_points: int = 40,
    ):
        self.rng = np.random.default_rng(3)
        self.names, self.num_points = names, num_points
        self.workloads = [self._workload(name, index) for index, name in enumerate(workloads)]
        self.base = [one["name"] for one in self.workloads if one["role"] == "base"]
        self.curves: dict[str, tuple[list, list, list]] = {}
        self.trials: list[dict[str, Any]] = []
        for name, workload in itertools.product(names, self.workloads):
            for study, trial in itertools.product(range(num_studies), range(1, num_trials + 1)):
                self._add_trial(name, workload, f"study_{study}", trial)
        self.studies = self._studies()
        self.results = self._results()

    def _workload(self, name: str, index: int) -> dict[str, Any]:
        minimize = bool(index % 2)
        return {
            "name": name,
            "metric": "loss" if minimize else "accuracy",
            "minimize": minimize,
            "target": 0.3 if minimize else 0.7,
            "role": "held_out" if name.endswith("_variant") else "base",
            "base": name.removesuffix("_variant") if name.endswith("_variant") else None,
            "budget_sec": 1000.0 * (index + 1),
            "eval_period_sec": 10.0,
            "step_hint": None if index else 5000,
        }

    def _add_trial(self, name: str, workload: dict[str, Any], study: str, trial: int) -> None:
        index = self.names.index(name)
        framework = ("jax", "pytorch")[index % 2]
        path = f"{name}/{study}/{workload['name']}_{framework}/trial_{trial}"
        length = self.num_points + int(self.rng.integers(-5, 5))
        speed = (1 + 0.15 * index) * self.rng.lognormal(0, 0.25)
        time = np.cumsum(self.rng.uniform(0.9, 1.1, length)) * workload["budget_sec"] / length
        value = np.exp(-3 * time / (speed * workload["budget_sec"] * 0.8))
        value = value + self.rng.normal(0, 0.01, length)
        if not workload["minimize"]:
            value = 1 - value
        if index == 1 and trial == 2:
            value[length // 2 :] = np.nan
        hits = value <= workload["target"] if workload["minimize"] else value >= workload["target"]
        hit = int(hits.argmax()) if hits.any() else None
        step = (np.arange(length) + 1) * 100
        self.curves[path] = (time.tolist(), step.tolist(), value.tolist())
        status = "target_reached" if hit is not None else "budget_spent"
        message = ""
        if index == 1 and trial == 2:
            hit, status, message = None, "submission_error", "The loss is not finite at step 2,000."
        self.trials.append(
            {
                "submission": name,
                "workload": workload["name"],
                "framework": framework,
                "study": study,
                "trial": trial,
                "path": path,
                "status": status,
                "message": message,
                "time": None if hit is None else float(time[hit]),
                "steps": int(step[-1]),
                "best": float(np.nanmin(value) if workload["minimize"] else np.nanmax(value)),
                "seconds": float(time[-1]),
                "hyperparameters": {
                    "learning_rate": float(self.rng.lognormal(-6, 1)),
                    "one_minus_beta1": float(self.rng.lognormal(-3, 1)),
                    "warmup_factor": 0.05,
                },
                "log_sha256": self.rng.bytes(32).hex(),
            }
        )

    def _studies(self) -> list[dict[str, Any]]:
        studies = []
        for key, group in itertools.groupby(
            self.trials, lambda one: (one["submission"], one["workload"], one["study"])
        ):
            trials = list(group)
            hits = [one for one in trials if one["time"] is not None]
            best = min(hits, key=lambda one: one["time"]) if hits else None
            studies.append(
                dict(zip(("submission", "workload", "study"), key, strict=True))
                | {
                    "time": best and best["time"],
                    "trial": best and best["trial"],
                    "trials_reached": len(hits),
                    "trials_run": len(trials),
                }
            )
        return studies

    def _results(self) -> list[dict[str, Any]]:
        results = [
            self._result(name, workload["name"])
            for name, workload in itertools.product(self.names, self.workloads)
        ]
        for workload in self.workloads:
            column = [one for one in results if one["workload"] == workload["name"]]
            times = [one["time"] for one in column if one["time"] is not None]
            for one in column:
                if one["time"] is not None:
                    one["ratio"] = one["time"] / min(times)
                    one["credit"] = max(0.0, 4 - one["ratio"]) / 3
        return results

    def _result(self, name: str, workload: str) -> dict[str, Any]:
        studies = [
            one for one in self.studies if (one["submission"], one["workload"]) == (name, workload)
        ]
        time = np.median([np.inf if one["time"] is None else one["time"] for one in studies])
        return {
            "submission": name,
            "workload": workload,
            "framework": ("jax", "pytorch")[self.names.index(name) % 2],
            "time": float(time) if np.isfinite(time) else None,
            "ratio": None,
            "credit": 0.0,
            "filtered": None,
            "studies_reached": sum(one["time"] is not None for one in studies),
            "studies_run": len(studies),
            "trials_reached": sum(one["trials_reached"] for one in studies),
            "trials_run": sum(one["trials_run"] for one in studies),
            "time_resolution": 0.03,
            "step_time": {"p10": 0.011, "median": 0.012, "p90": 0.0141},
            "first_step_sec": 4.2,
        }

    def document(self) -> dict[str, Any]:
        base = {
            name: [
                one
                for one in self.results
                if one["submission"] == name and one["workload"] in self.base
            ]
            for name in self.names
        }
        ratios = {name: [one["ratio"] or np.inf for one in base[name]] for name in self.names}
        tau = sorted({1.0, 4.0, *(r for row in ratios.values() for r in row if r <= 4)})
        share = {
            name: [float(np.mean([r <= t for r in row])) for t in tau]
            for name, row in ratios.items()
        }
        scores = {name: sum(one["credit"] for one in base[name]) / len(self.base) for name in base}
        order = sorted(self.names, key=lambda name: -scores[name])
        first = self.trials[0]["path"]
        return {
            "schema": "finishline-scores/1",
            "rules": {
                "name": "default",
                "tuning_ruleset": "external",
                "benchmark_version": "0.5",
                "strict": True,
                "num_studies": 3,
                "num_trials": 2,
                "max_ratio": 4.0,
                "explanation": ["A study's time is that of its fastest trial."],
                "differences": ["The score of alpha: 0.5000 as published, 0.5100 here."],
            },
            "reference": self.names[0],
            "bootstrap": {"samples": 1000, "seed": 0, "level": 0.95},
            "workloads": self.workloads,
            "submissions": [
                self._submission(name, rank, scores, order) for rank, name in enumerate(order, 1)
            ],
            "results": self.results,
            "studies": self.studies,
            "trials": self.trials,
            "profiles": {"tau": tau, "share": share},
            "violations": [{"path": first, "rule": "budget", "reason": "It ran 3 s too long."}],
            "problems": [{"path": "notes.txt", "reason": "is not a submission; it is left out"}],
            "warnings": [{"kind": "rank", "text": "Without quartz the first place changes."}],
        }

    def _submission(
        self, name: str, rank: int, scores: dict[str, float], order: list[str]
    ) -> dict[str, Any]:
        trials = [one for one in self.trials if one["submission"] == name]
        near = np.exp(-np.abs(np.arange(1, len(order) + 1) - rank) * 1.2)
        score, seconds = scores[name], sum(one["seconds"] for one in trials)
        entry = {"score": score * 0.97, "rank": rank}
        statuses = [one["status"] for one in trials]
        return {
            "name": name,
            "rank": rank,
            "score": score,
            "score_interval": [max(0.0, score - 0.08), min(1.0, score + 0.05)],
            "rank_interval": [max(1, rank - 1), min(len(order), rank + 1)],
            "rank_probabilities": (near / near.sum()).tolist(),
            "speedup": 1.1 if trials else None,
            "leave_one_workload_out": dict.fromkeys(self.base, entry),
            "leave_one_submission_out": {other: entry for other in order if other != name},
            "ledger": {
                "submission": seconds,
                "evaluation": seconds / 5,
                "record_keeping": seconds / 50,
                "setup": None if rank == 1 else seconds / 30,
            },
            "trials_reached": sum(one["time"] is not None for one in trials),
            "trials_run": len(trials),
            "statuses": {one: statuses.count(one) for one in sorted(set(statuses))},
        }
