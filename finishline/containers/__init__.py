"""Trials in Docker containers: strangers' code away from the host, its data and its record."""
