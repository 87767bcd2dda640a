"""How good predictions are, how surely, and what does as well without a network."""
