"""The noisy quadratic of DeepOBS."""
