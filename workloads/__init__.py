"""One folder a workload: its data, its targets, and its model in both frameworks."""
