"""Foundations of the package: settings, configuration, paths, errors and figure style."""
