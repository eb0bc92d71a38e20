"""Small typed records in hidden system buckets."""
