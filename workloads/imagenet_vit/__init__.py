"""A Vision Transformer on ImageNet."""
