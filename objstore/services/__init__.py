"""OpenStack-like services; none is built yet."""
