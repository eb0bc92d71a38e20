"""Frames to bytes and back; sans-IO."""
