"""The exported model: write, load, predict with and evaluate a bundle."""
