"""The cluster as the object model sees it."""
