"""Etag rules."""
