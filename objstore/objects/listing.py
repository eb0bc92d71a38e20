"""Listing objects."""
