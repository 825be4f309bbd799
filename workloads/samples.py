"""Data for any workload on any machine: what is not embedded is made up in its original format."""

import importlib
from pathlib import Path

from finishline.workload import WorkloadDefinition


def prepare_sample(workload: WorkloadDefinition, data_dir: Path, **sizes: int) -> None:
    """Prepares the data of ``workload``; nothing has to be obtained by hand.

    A workload that is not embedded has a module ``sample`` beside its ``workload`` with a function
    ``write_originals(data_dir, *, num_train=..., num_test=...)``. It writes files as they are
    distributed, with made-up content, to where the data set looks for them. By default they are
    as small as tests want them.

    Args:
      workload: the workload.
      data_dir: where the data sets lie.
      sizes: ``num_train`` and ``num_test``; embedded data have the size that they have.
    """
    if not workload.is_embedded:
        sample = importlib.import_module(f"{workload.package}.sample")
        sample.write_originals(data_dir, **sizes)
    workload.dataset.prepare(data_dir)
