"""ImageNet-1k, stored once for all workloads and both frameworks, and a small set of its kind."""
