"""Deliveries: when a schedule is due, how a message is signed, and where it may be sent."""
