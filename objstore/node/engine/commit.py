"""The durable write: append, one flush for all that wait, rows visible, answers."""
