"""Reconciliation: what was settled against what was billed, to the last digit."""
