"""Answers as files: CSV, XLSX, PDF, JSON and Parquet of the same rows."""
