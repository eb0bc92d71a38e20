"""Names to partitions."""
