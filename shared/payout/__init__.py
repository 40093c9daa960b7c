"""Payouts: what is due to whom, instructed once, and what the bank answered."""
