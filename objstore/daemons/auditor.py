"""Finds and heals damaged bytes."""
