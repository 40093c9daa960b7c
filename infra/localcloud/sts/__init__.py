"""STS, as far as functions call it: AssumeRole. The service of the payers answers it, which knows their roles."""
