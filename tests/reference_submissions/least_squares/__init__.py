"""The smallest workload with what algorithms may meet: batch norm, a bias, a masked example."""
