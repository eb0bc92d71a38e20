"""Decisions, sans-IO: no clock, no randomness, no socket, no file."""
