"""Canonical requests, signatures and chunk chains of AWS Signature Version 4."""
