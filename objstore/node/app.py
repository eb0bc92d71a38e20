"""Assembles a storage node process."""
