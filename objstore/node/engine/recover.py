"""Start after a crash."""
