"""Adapters: the only modules that import an SDK. They translate both ways and decide nothing."""
