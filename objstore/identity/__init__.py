"""Projects, users and S3 credentials."""
