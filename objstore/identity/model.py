"""Users and credentials."""
