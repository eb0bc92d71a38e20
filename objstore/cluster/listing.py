"""Merged scans."""
