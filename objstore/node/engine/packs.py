"""Append-only packs: rows and small payloads; the journal."""
