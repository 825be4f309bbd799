"""Sums over a split become metrics."""

import math

from finishline.frameworks.means import metrics_of


def test_each_metric_has_its_own_count():
    assert metrics_of(["accuracy", "loss"], [(3.0, 4.0), (10.0, 20.0)]) == {
        "accuracy": 0.75,
        "loss": 0.5,
    }


def test_perplexity_is_the_exponential_of_the_mean_loss():
    assert metrics_of(["ppl"], [(30.0, 10.0)]) == {"ppl": math.exp(3.0)}


def test_perplexity_beyond_all_floats_is_infinite():
    assert metrics_of(["ppl"], [(1e6, 1.0)]) == {"ppl": math.inf}


def test_nothing_counted_is_not_a_number():
    assert math.isnan(metrics_of(["accuracy"], [(0.0, 0.0)])["accuracy"])
    assert math.isnan(metrics_of(["ppl"], [(0.0, 0.0)])["ppl"])
