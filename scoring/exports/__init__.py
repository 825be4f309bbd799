"""Measurements of trials in the formats of other tools; ``scoring.export`` is the command."""
