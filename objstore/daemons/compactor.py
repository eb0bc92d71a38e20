"""Checkpoints, compaction, purge, tombstone reclaim."""
