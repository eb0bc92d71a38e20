"""Networks; not built yet."""
