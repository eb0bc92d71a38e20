"""The pack file format."""
