"""Reading objects."""
