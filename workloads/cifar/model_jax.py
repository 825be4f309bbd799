"""ResNet-18 with a stem for small images, in flax."""

from workloads.resnet.model_jax import Model as Model
