"""Reads with write-back."""
