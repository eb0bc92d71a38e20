"""Buckets: claim, resolve, list, delete."""
