"""Copying objects."""
