"""Shampoo in JAX: the submission and its optimizer."""
