"""Measured files turned into arrays to train on, with the params file of their study."""
