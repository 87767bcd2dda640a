"""One trial, from suggestion to score, and the storage that remembers it."""
