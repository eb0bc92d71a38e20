"""Bytes to Ring and back; pure."""
