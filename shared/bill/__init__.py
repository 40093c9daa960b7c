"""The provider's bill: its lines, where they come from, day parts, snapshots and seals."""
