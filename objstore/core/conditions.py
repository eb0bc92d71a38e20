"""If-Match and its kin."""
