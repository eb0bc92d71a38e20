"""Checksum algorithms of S3 and how their values combine."""
