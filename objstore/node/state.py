"""Device states, ring epoch, which partitions have a vote."""
