"""AlgoPerf's package as submissions know it, under both of its names; for the worker alone.

It has what published submissions import. Anything else is missing, which the check of a submission
says before it is run.
"""
