"""Reports that people fetch by themselves: from what was settled to rows that their scope may see."""
