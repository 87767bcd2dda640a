"""Arrays in; checked, split, standardised parts out."""
