"""The `objstore` command."""
