"""One training, and everything that it leaves in its directory."""
