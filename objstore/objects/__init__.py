"""The one object model behind both dialects and all services."""
