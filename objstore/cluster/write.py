"""Plain and conditional writes."""
