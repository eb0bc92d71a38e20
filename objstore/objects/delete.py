"""Deleting objects."""
