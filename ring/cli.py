"""The `ring` command."""
