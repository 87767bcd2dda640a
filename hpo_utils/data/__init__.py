"""Data: check, split and standardise the source arrays, and audit the parts for leakage."""
