"""Who is who: payers and their connectors, resellers, customers, whose account is whose and from when."""
