"""What should have happened and has not: one room for each place where `sweep` looks."""
