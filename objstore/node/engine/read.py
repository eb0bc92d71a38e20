"""Read and verify."""
