"""The winner: raced on fresh seeds, then examined on the test part."""
