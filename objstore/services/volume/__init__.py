"""Volumes: block devices whose chunks are objects, exported over NBD."""
