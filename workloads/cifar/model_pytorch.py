"""ResNet-18 with a stem for small images, in PyTorch."""

from workloads.resnet.model_pytorch import Model as Model
