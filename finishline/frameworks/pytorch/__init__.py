"""PyTorch: models are nn.Modules, one process a device."""
