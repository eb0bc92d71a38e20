"""Thin HTTP dialects: parse, call objects, render."""
