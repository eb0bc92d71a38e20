"""Many nodes seen from a proxy."""
