"""Open, search, resume and summarise a study, and train a network by hand."""
