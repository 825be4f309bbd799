"""What most training algorithms share, so that a submission holds only what is its own.

A submission imports what it does not want to write itself::

    from finishline.recipes.jax import data_selection, get_batch_size, update_params

``finishline.recipes.jax`` and ``finishline.recipes.pytorch`` have the same functions with the same
meaning. Nothing here is privileged: all of it runs in the worker, on the clock.
"""
