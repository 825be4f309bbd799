"""ResNet-50, in flax."""

from workloads.resnet.model_jax import Model as Model
