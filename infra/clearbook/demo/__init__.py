"""The demonstration: a generated month, played through the whole pipeline."""
