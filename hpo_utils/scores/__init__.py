"""Scores: metrics and skill of predictions, their intervals, and the yardstick of a study."""
