"""Adafactor: Adam's second moment by rows and columns only, without momentum; warm-up and cosine.

For a matrix with gradient g, and r and c the running means of g^2 over rows and columns::

    d_t = 1 - t^-0.8          r <- d_t r + (1 - d_t) mean_rows(g^2)     (c likewise)
    u = g / sqrt(r c / mean(r))            u <- u / max(1, rms(u))
    w <- w - lr max(1e-3, rms(w)) u

Of tensors with more axes the two longest count, smaller ones than 32 have the whole second moment.

Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
arXiv:1804.04235.
"""

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params

from .adafactor import Adafactor


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = Adafactor(
        model_params.parameters(), lr=hyperparameters.learning_rate, min_dim_size_to_factor=32
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
