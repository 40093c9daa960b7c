"""The journal: balanced double-entry postings per currency, a fold of what was decided."""
