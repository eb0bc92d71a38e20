"""Hostile input: recorded requests, mutated; what must never happen is checked after every one of them.

`python -m tests.fuzz` runs as many as it is told; a small share runs with the unit tests (test_fuzz.py).
"""
