"""Background work: repair, scrub, compaction, ring changes."""
