"""Routes Swift requests; not built yet."""
