"""One trial, from its suggested parameters to its score, and the storage of trials."""
