"""A bundle in use: compared with later data, adapted to another instrument, monitored."""
