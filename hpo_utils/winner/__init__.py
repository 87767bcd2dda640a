"""Selection of a study's winner on fresh seeds, and its evaluation on the test part."""
