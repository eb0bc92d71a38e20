"""The ring in use, and who is up."""
