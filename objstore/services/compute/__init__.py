"""Servers; not built yet."""
