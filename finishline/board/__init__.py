"""Leaderboards that are kept: entries with hashes of their logs, and the page made from them.

A board is a folder with one TOML file a submission; ``leaderboard/README.md`` describes it.
"""
