"""Criteo 1TB: which advertisement is clicked, by DLRM-small; and its variants.

Of each row, ``inputs`` are the logarithms of 13 counts and ``categories`` are 26 categories, hashed
into the buckets of their columns. Each is looked up in one table, modulo its number of rows.
"""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.criteo1tb.dataset import CriteoDataset
from workloads.criteo1tb.fields import FIELDS


@dataclasses.dataclass(eq=False, kw_only=True)
class CriteoMiniDataset(CriteoDataset):
    """Rows that ``mini`` makes up, prepared from 24 days in Criteo's format."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        from workloads.criteo1tb import mini

        del source  # nothing has to be obtained
        if self.is_prepared(data_dir):
            return
        with tempfile.TemporaryDirectory() as folder:
            mini.write_originals(
                Path(folder),
                num_train=self.num_examples["train"],
                num_last=self.num_examples["test"] + self.num_examples["validation"],
            )
            super().prepare(data_dir, Path(folder), num_workers)


DATASET = CriteoDataset(
    name="criteo1tb",
    num_examples={
        "train": 4_195_197_692,
        "validation": 83_274_637,
        "test": 95_000_000,
    },
    fields=FIELDS,
    origin="gated: Criteo AI Lab, or criteo/CriteoClickLogs on huggingface.co",
    disk_bytes=687_000_000_000,
)

MINI_DATASET = CriteoMiniDataset(
    name="criteo1tb_mini",
    num_examples={"train": 368_000, "validation": 16_000, "test": 16_000},
    fields=FIELDS,
    origin="generated",
    disk_bytes=63_000_000,
    block_size=8,
)


def _workload(name: str, **model: Any) -> WorkloadDefinition:
    """DLRM-small with other entries of ``model``."""
    base: Mapping[str, Any] = {
        "vocab_size": 2**22,
        "embed_dim": 128,
        "bottom_dims": (512, 256, 128),
        "top_dims": (1024, 1024, 512, 256),
    }
    return WorkloadDefinition(
        name=name,
        package="workloads.criteo1tb",
        dataset=DATASET,
        mini_dataset=MINI_DATASET,
        task="click-through rate of advertisements",
        loss_type=LossType.SIGMOID_CROSS_ENTROPY,
        metrics=("loss",),
        eval_batch_size=131_072,
        num_eval_train_examples=83_361_792,
        smooths_labels=False,
        model={**base, **model},
        mini_model={
            "vocab_size": 8_192,
            "embed_dim": 16,
            "bottom_dims": (256, 16),
            "top_dims": (256, 256, 128),
        },
        batch_size_name="criteo1tb",
        **published(name),
    )


_BASE = _workload("criteo1tb")

WORKLOADS = (
    _BASE,
    _workload("criteo1tb_layernorm", use_layer_norm=True),
    dataclasses.replace(
        _workload(
            "criteo1tb_resnet",
            is_residual=True,
            bottom_dims=(256, 256, 256),
            top_dims=(256, 256, 256, 256),
        ),
        mini_model={
            "vocab_size": 8_192,
            "embed_dim": 16,
            "bottom_dims": (32, 32),
            "top_dims": (64, 64),
        },
    ),
    _workload("criteo1tb_embed_init", embedding_scale=1.0),
    _BASE.mini(
        target=Target(metric="loss", minimize=True, validation=0.449789, test=0.451651),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=0.5,
        step_hint=1000,
        eval_batch_size=16_000,
        num_eval_train_examples=16_000,
        batch_size_name="ogbg",
    ),
)
