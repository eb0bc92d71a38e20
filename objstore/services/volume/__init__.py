"""Volumes; not built yet."""
