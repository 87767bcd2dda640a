"""Models without a network, which the network must beat: views, ridge, PLS, processes, trees."""
