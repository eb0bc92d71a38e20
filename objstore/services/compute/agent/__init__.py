"""What runs on each host: starts, watches, moves and ends guests, as the conductor asks (ADR 17)."""
