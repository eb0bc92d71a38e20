"""objstore: a strongly consistent S3- and Swift-compatible object store."""
