"""Who may see what: the scopes that every question about data takes."""
