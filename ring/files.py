"""Atomic load and save of ring files; the only I/O of this package."""
