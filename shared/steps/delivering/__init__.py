"""Delivering: schedules, the webhooks and mails that tell of what they made, and every attempt at them."""
