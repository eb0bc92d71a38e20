"""Makes replicas equal."""
