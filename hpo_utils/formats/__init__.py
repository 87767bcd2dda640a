"""Files: arrays, tables, recordings and spectra, as NumPy and other programs write them, read."""
