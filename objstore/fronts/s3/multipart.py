"""Multipart requests."""
