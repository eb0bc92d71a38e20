"""The Range header."""
