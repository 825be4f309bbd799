"""Checks of run directories, one module a subject; ``scoring.check_logs`` is the command."""
