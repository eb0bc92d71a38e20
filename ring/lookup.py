"""Partition to primaries, then handoffs in a stable order."""
