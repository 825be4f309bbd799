"""Shampoo in PyTorch: the submission and its optimizer."""
