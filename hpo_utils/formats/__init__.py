"""Files of other programs: tables, arrays and recordings, read as arrays to train on."""
