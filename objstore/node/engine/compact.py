"""Reclaim packs that are mostly dead."""
