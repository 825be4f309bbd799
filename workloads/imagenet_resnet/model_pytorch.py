"""ResNet-50, in PyTorch."""

from workloads.resnet.model_pytorch import Model as Model
