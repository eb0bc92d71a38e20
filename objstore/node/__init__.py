"""A storage node."""
