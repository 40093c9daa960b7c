"""A local stand-in for Object Storage Service: its wire protocol, its rules, its events."""
