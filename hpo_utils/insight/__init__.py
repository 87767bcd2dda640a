"""Analyses of a study and its winner, as numbers and as figures."""
