"""Row keys to index keys that keep their order."""
