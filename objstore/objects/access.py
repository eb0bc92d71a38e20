"""Authorisation: one table of actions."""
