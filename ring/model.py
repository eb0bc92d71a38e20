"""Devices, tiers and ring specifications with their invariants."""
