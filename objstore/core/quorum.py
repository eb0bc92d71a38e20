"""Tallies of answers, one or two sets of primaries."""
