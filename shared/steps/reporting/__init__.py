"""Self-service reports: what is asked, answered, kept and handed out."""
