"""A small workload whose hidden layers have matrices."""
