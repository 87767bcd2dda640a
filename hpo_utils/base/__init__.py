"""What everything stands on: settings, configuration, paths, errors, the style of figures."""
