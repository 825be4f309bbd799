"""Schedule-Free AdamW in PyTorch."""
