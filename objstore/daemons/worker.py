"""The loop that all daemons share."""
