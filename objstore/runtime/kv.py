"""Ordered key-value transactions behind the engine's index.

Keys are bytes of 1 to 511 bytes, compared as bytes; values are bytes.  A `Kv` holds a few named tables.  Reads see the
last committed transaction and may run on any thread; writes are one fully synced transaction each, made by the store's
own writer thread.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

MAX_KEY_BYTES = 511

Change = tuple[str, bytes, bytes | None]  # table, key, value; None deletes


class Snapshot(Protocol):
    """A consistent view; close it soon, since an open one keeps freed pages from being reused."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def scan(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in order; a caller may stop early."""

    def pages(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[list[tuple[bytes, bytes]]]:
        """The same pairs, some at a time, never none; for long scans, of which each step costs."""

    def close(self) -> None:
        """End the view."""


class Kv(Protocol):
    """One store."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value in the last committed transaction, or None."""

    def snapshot(self) -> Snapshot:
        """Open a view."""

    def apply(self, changes: Sequence[Change]) -> None:
        """Commit all changes in one durable transaction.  Blocks.  Raises OSError or DeviceFull; then nothing changed."""

    def used_bytes(self) -> int:
        """Space in use on disk."""

    def upkeep(self) -> None:
        """Clear what killed readers left; call at start and now and then."""

    def close(self) -> None:
        """Close; no view may be open."""
