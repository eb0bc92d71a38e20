"""The image service (Glance v2): images' records in SQL, their bytes in a bucket of the store that the service owns."""
