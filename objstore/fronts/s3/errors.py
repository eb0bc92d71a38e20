"""Errors as S3 shows them."""
