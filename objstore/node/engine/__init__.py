"""What is on disk on one device."""
