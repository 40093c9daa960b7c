"""What surrounds the functions: tables, buckets and their rules."""
