"""ImageNet classification with ViT-S/16: AlgoPerf's ``imagenet_vit``, its variants and a mini.

Training images pass through RandAugment and mixup. The labels of training are therefore
distributions over the classes, (batch, classes); those of evaluations are class indices, (batch,).
"""

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.imagenet import dataset

MIXUP_ALPHA = 0.2

BASE = WorkloadDefinition(
    name="imagenet_vit",
    package="workloads.imagenet_vit",
    task="classification of images, with attention",
    dataset=dataset.imagenet(randaugment=True, mixup_alpha=MIXUP_ALPHA),
    loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
    metrics=("accuracy", "loss"),
    eval_batch_size=2048,
    num_eval_train_examples=51_200,
    model={
        "image_size": dataset.IMAGE_SIZE,
        "patch_size": 16,
        "width": 384,
        "depth": 12,
        "mlp_width": 1536,
        "num_heads": 6,
        "num_classes": dataset.NUM_CLASSES,
    },
    mini_model={
        "image_size": dataset.MINI_IMAGE_SIZE,
        "patch_size": 4,
        "width": 48,
        "depth": 2,
        "mlp_width": 96,
        "num_heads": 3,
        "num_classes": dataset.MINI_NUM_CLASSES,
    },
    mini_dataset=dataset.imagenet_mini(randaugment=True, mixup_alpha=MIXUP_ALPHA),
    batch_size_name="imagenet_vit",
    **published("imagenet_vit"),
)

VARIANTS = {
    "imagenet_vit_glu": {"is_gated": True},
    "imagenet_vit_post_ln": {"is_post_norm": True},
    "imagenet_vit_map": {"has_attention_pooling": True},
}

WORKLOADS = (
    BASE,
    *(
        BASE.variant(name, model={**BASE.model, **change}, **published(name))
        for name, change in VARIANTS.items()
    ),
    BASE.mini(
        target=Target(metric="accuracy", minimize=False, validation=0.696667, test=0.648333),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=2.0,
        step_hint=600,
        eval_batch_size=600,
        num_eval_train_examples=600,
        batch_size_name="mnist",
    ),
)
