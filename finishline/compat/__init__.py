"""Running submissions that were written for AlgoPerf's own harness, unchanged.

What a submission needs is read from its source (``plan``), recorded, and supplied in the worker
alone, on the clock, just before the submission is loaded (``layer``):

- ``algoperf`` and ``algorithmic_efficiency`` are both the package ``finishline.compat.algoperf``;
- files are found under the paths at which the leaderboard mounted them (``tree``, ``imports``);
- JAX submissions that use ``jax.pmap`` get arrays with a leading device axis (``pmap``);
- names that JAX has removed are there again (``jax_names``);
- ``cuda`` means the CPU on a machine without a GPU (``cuda``);
- the hyperparameter ``dropout_rate`` is the model's rate where the submission does not pass one.

None of these changes an algorithm. ``docs/compatibility.md`` says what is supported.
"""
