"""Balanced placement of replicas with few moves."""
