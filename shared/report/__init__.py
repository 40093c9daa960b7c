"""Files for people and other systems: the same content is the same bytes."""
