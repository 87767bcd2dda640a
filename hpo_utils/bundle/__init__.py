"""The exported model: write, load and predict with a bundle."""
