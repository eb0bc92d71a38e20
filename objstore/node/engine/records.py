"""Stored records: layout, version, checksum."""
