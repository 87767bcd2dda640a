"""The processes that share a study's trials, on this machine or on a cluster."""
