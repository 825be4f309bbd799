"""What the harness needs of each framework."""

FRAMEWORKS = ("jax", "pytorch")
