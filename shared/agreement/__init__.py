"""Agreements: what a reseller earns on which lines, in versions that people approve."""
