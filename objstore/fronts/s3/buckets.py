"""Bucket requests."""
