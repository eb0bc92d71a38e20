"""Two rings to the partitions that move."""
