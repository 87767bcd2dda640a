"""What a study and its winner can be asked, as numbers and as figures."""
