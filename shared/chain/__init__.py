"""The chain: every decision about money, one hashed entry after another, in streams."""
