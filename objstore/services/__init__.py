"""OpenStack-like services: images, volumes, networks, servers."""
