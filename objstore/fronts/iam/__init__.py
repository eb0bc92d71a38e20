"""IAM and STS: Amazon's query APIs on the same endpoint as S3."""
