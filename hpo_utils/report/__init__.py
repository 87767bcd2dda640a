"""What a notebook shows, section by section, and the page that keeps it."""
