"""Finishline: time-to-result competitions for training algorithms."""

__version__ = "0.1.0"
