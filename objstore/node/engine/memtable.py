"""Rows newer than the checkpoint."""
