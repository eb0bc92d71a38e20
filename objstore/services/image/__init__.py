"""Images; not built yet."""
