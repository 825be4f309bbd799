"""ResNet-50 v1.5 on ImageNet, with its variants.

The published targets were set with flax's padding; it is the quirk ``same_padding``, without which
both frameworks pad on both sides alike. There is neither RandAugment nor mixup.
"""

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.imagenet.dataset import MINI_NUM_CLASSES, NUM_CLASSES, imagenet, imagenet_mini

RESNET = WorkloadDefinition(
    name="imagenet_resnet",
    package="workloads.imagenet_resnet",
    task="classification of images, with batch norm",
    dataset=imagenet(),
    mini_dataset=imagenet_mini(),
    loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
    metrics=("accuracy", "loss"),
    eval_batch_size=1024,
    num_eval_train_examples=50_176,
    model={
        "stage_sizes": (3, 4, 6, 3),
        "width": 64,
        "num_classes": NUM_CLASSES,
        "block": "bottleneck",
        "stem": "imagenet",
        "activation": "relu",
        "bn_init_scale": 0.0,
    },
    # Of 32 x 32 pixels the stem leaves 8 x 8. The stem for small images takes four times as long.
    mini_model={"stage_sizes": (1, 1, 1, 1), "width": 16, "num_classes": MINI_NUM_CLASSES},
    quirk_models={"same_padding": {"same_padding": True}},
    batch_size_name="imagenet_resnet",
    **published("imagenet_resnet"),
)


def _variant(name: str, **model: object) -> WorkloadDefinition:
    """The workload with other entries of ``model``, and the targets of its name."""
    return RESNET.variant(name, model={**RESNET.model, **model}, **published(name))


WORKLOADS = (
    RESNET,
    _variant("imagenet_resnet_silu", activation="silu"),
    _variant("imagenet_resnet_gelu", activation="gelu"),
    _variant("imagenet_resnet_large_bn_init", bn_init_scale=8.0),
    RESNET.mini(
        target=Target(metric="accuracy", minimize=False, validation=0.871667, test=0.846667),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=2.0,
        step_hint=400,
        eval_batch_size=600,
        num_eval_train_examples=600,
        batch_size_name="mnist",
    ),
)
