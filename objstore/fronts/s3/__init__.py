"""The S3 dialect."""
