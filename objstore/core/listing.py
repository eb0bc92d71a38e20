"""Merge of scans."""
