"""The object store: assembles the operations."""
