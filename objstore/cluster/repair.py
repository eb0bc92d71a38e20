"""Read-repair and late answers."""
