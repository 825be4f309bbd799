"""The ``finewebedu_lm`` workload."""
