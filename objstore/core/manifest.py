"""Objects made of parts: byte ranges to pieces."""
