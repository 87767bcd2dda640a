"""The model to take home: written, loaded, asked, accepted."""
