"""How examples come from the disk to the training loop."""
