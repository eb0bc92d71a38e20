"""Carries out ring changes."""
