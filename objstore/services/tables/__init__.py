"""Relational state of the services: schema in numbered steps, jobs that are written with what they belong to."""
