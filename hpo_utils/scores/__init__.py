"""Scores: metrics and skill of predictions, their intervals, and baselines without a network."""
