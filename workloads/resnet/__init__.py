"""Residual networks, which the image workloads share."""
