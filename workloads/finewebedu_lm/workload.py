"""FineWeb-Edu: which token comes next in web pages, by a decoder-only Transformer; and a mini.

``ppl``, the perplexity, is exp of the mean loss over all tokens of a split. How documents are
split, and why results do not compare with AlgoPerf's target, ``dataset`` and ``remark`` say.
"""

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.finewebedu_lm.dataset import FineWebEdu, MadeUpText, fields

LENGTH, MINI_LENGTH = 1024, 128
VOCAB_SIZE, MINI_VOCAB_SIZE = 50_257, 257

# Shares a little larger than the numbers of windows need, of 9.7 million windows in all. AlgoPerf
# has as many of training and validation.
DATASET = FineWebEdu(
    name="finewebedu",
    num_examples={"train": 8_749_870, "validation": 100_000, "test": 10_000},
    fields=fields(LENGTH),
    origin="HuggingFaceFW/fineweb-edu (sample-10BT) on huggingface.co, and GPT-2's tokenizer",
    disk_bytes=18_400_000_000,
    length=LENGTH,
    vocab_size=VOCAB_SIZE,
    shares={"validation": 0.012, "test": 0.0015, "train": 0.91},
)

MINI_DATASET = MadeUpText(
    name="finewebedu_mini",
    num_examples={"train": 5_600, "validation": 150, "test": 150},
    fields=fields(MINI_LENGTH),
    origin="generated",
    disk_bytes=1_690_000,
    length=MINI_LENGTH,
    vocab_size=MINI_VOCAB_SIZE,
    shares={"validation": 0.03, "test": 0.03, "train": 0.94},
    characters_per_token=1,
    documents_per_shard=1_000,
)

BASE = WorkloadDefinition(
    name="finewebedu_lm",
    package="workloads.finewebedu_lm",
    dataset=DATASET,
    mini_dataset=MINI_DATASET,
    task="the next token of web pages",
    remark=(
        "AlgoPerf's target was set with most of the validation documents among those of training, "
        "so results here do not compare with it; `python -m finishline.target_setting "
        "--workload=finewebedu_lm` sets another. AlgoPerf has no test split, so there is no test "
        "target."
    ),
    loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
    metrics=("ppl", "loss"),
    # AlgoPerf's 256 windows have 53 GB of logits; no metric depends on it.
    eval_batch_size=16,
    num_eval_train_examples=10_000,
    model={
        "vocab_size": VOCAB_SIZE,
        "length": LENGTH,
        "width": 1024,
        "depth": 12,
        "mlp_width": 4096,
        "num_heads": 8,
    },
    mini_model={
        "vocab_size": MINI_VOCAB_SIZE,
        "length": MINI_LENGTH,
        "width": 64,
        "depth": 2,
        "mlp_width": 128,
        "num_heads": 4,
    },
    batch_size_name="wmt",
    **published("finewebedu_lm"),
)

WORKLOADS = (
    BASE,
    BASE.mini(
        remark="",
        target=Target(metric="ppl", minimize=True, validation=1.7933, test=1.79995),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=1,
        step_hint=1000,
        eval_batch_size=50,
        num_eval_train_examples=150,
    ),
)
