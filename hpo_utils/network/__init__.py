"""The networks, their layers, and the device that computes them."""
