"""Version sets: which version is current, delete markers."""
