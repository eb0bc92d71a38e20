"""Routes S3 requests."""
