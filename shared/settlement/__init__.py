"""Settlements: what each line earns, exactly, as a pure function of named inputs."""
