"""The one authenticator in front of all routes."""
