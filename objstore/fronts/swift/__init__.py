"""The Swift dialect; not built yet."""
