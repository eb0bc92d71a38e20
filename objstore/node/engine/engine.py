"""One open device."""
