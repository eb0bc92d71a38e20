"""Upload states and part rules."""
