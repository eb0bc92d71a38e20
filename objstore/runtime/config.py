"""Typed settings, parsed once."""
