"""Misbehaviour of the local cloud, by plan."""
