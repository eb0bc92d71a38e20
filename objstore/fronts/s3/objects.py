"""Object requests."""
