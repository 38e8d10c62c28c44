"""Retries that never storm a sick service: the budget here, companions for tenacity and stamina beside it."""

from recloser.retry.budgets import BudgetCounts, RetryBudget, budget, counts

__all__ = ["BudgetCounts", "RetryBudget", "budget", "counts"]
