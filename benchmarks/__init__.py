"""The performance budgets: `python -m benchmarks` measures them all in one run."""
