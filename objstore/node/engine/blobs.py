"""A file per large payload."""
