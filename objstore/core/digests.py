"""Partition digests for replica comparison."""
