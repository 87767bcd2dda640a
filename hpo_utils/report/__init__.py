"""Sections, tables and sentences that the notebooks show, and the page that keeps them."""
