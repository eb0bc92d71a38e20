"""Messages to engine calls."""
