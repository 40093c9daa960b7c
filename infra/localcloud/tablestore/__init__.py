"""A local Tablestore: the wide-column model of one instance, in its own wire protocol, over SQLite."""
