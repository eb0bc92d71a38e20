"""The objects of a listing page, each made from its row when it is looked at.

A page has up to ten thousand rows.  Whoever renders it goes through them once, and what is made and dropped row by row stays in
the processor's cache, while a thousand decoded rows and a thousand `ObjectInfo` beside them do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from objstore.cluster.api import ScannedRow
from objstore.core.rows import Row, decode_row
from objstore.objects.info import object_info
from objstore.objects.values import ListPage, ObjectInfo


class Heads(Sequence[ObjectInfo]):
    """Current versions in byte order of key.  `keys` and `rows` are the same objects as they lie in the cluster."""

    def __init__(self, scanned: Sequence[ScannedRow]) -> None:
        self._scanned = scanned

    @property
    def keys(self) -> list[str]:
        """Their keys."""
        return [item.name.decode() for item in self._scanned]

    def rows(self) -> Iterator[Row]:
        """Their rows, decoded one at a time.  Raises msgspec.MsgspecError."""
        return map(decode_row, [item.encoded for item in self._scanned])

    def __len__(self) -> int:
        return len(self._scanned)

    def __iter__(self) -> Iterator[ObjectInfo]:
        return map(object_info, self.keys, self.rows())

    @overload
    def __getitem__(self, index: int) -> ObjectInfo: ...

    @overload
    def __getitem__(self, index: slice) -> "Heads": ...

    def __getitem__(self, index: int | slice) -> "ObjectInfo | Heads":
        if isinstance(index, slice):
            return Heads(self._scanned[index])
        item = self._scanned[index]
        return object_info(item.name.decode(), item.row)


@dataclass(frozen=True)
class HeadPage(ListPage):
    """One page of current versions."""

    objects: Heads
    folders: Heads = field(default_factory=lambda: Heads([]))  # of the common prefixes, those that are keys as they are
