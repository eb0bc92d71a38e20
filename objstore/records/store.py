"""Small typed records in the system bucket, changed by compare-and-set, and leases made of them.

A record is a msgspec struct under `record/<kind>/<name>`; its version is the ballot of its row and changes with every
write.  What several processes must agree on (identity, settings, who runs a daemon) is kept here; everything that is
searched by more than a name prefix, or is large, is not.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.rows import SYSTEM_BUCKET, Kind, Row, RowKey, Space, is_live
from objstore.core.timestamp import CLOCKS_APART_US, ZERO
from objstore.errors import ConditionalConflict, InvalidArgument, PreconditionFailed
from objstore.runtime.clock import Clock

T = TypeVar("T", bound=msgspec.Struct)

VALUE_LIMIT_BYTES = 256 * 1024  # records travel inside rows, and a scan of a thousand of them in one answer

CHANGE_ATTEMPTS = 32  # each has a rival's success before it

Version = bytes


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A record as it was read."""

    name: str
    value: T
    version: Version


class Records(Generic[T]):
    """All records of one kind."""

    def __init__(self, cluster: ClusterApi, kind: str, type_: type[T]) -> None:
        assert "/" not in kind
        self._cluster = cluster
        self._prefix = names.record_prefix(kind)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(type_).decode

    async def get(self, name: str) -> Entry[T] | None:
        """The record, or None."""
        row = (await self._cluster.read(self._key(name))).row
        return Entry(name, self._decode(row.record), row.origin) if row is not None and is_live(row) else None

    async def put(self, name: str, value: T) -> Version:
        """Write whatever is there; the new version."""
        return (await self._cluster.write(self._key(name), self._draft(value))).row.origin

    async def put_if(self, name: str, value: T, expected: Version | None) -> Version:
        """Write if the record is still at version `expected`, or absent when that is None; the new version.

        Raises PreconditionFailed, or ConditionalConflict when it cannot be known whether the write took effect.
        """
        draft = self._draft(value)

        def judge(current: Row | None) -> Row:
            _check_version(name, current, expected)
            return draft

        return (await self._cluster.conditional(self._key(name), judge)).row.origin

    async def change(self, name: str, edit: Callable[[T], T], default: T | None = None) -> T:
        """Change a record whatever its version: `edit` is pure, may raise, and may run more than once; `default` stands in for none.

        Returns what was written.  Raises PreconditionFailed when there is none and no default, ConditionalConflict when others kept
        getting in between.
        """
        for _ in range(CHANGE_ATTEMPTS):
            entry = await self.get(name)
            current = default if entry is None else entry.value
            if current is None:
                raise PreconditionFailed(f"there is no record {name!r}", condition="version")
            changed = edit(current)
            if entry is not None and changed == current:
                return changed
            try:
                await self.put_if(name, changed, None if entry is None else entry.version)
            except (PreconditionFailed, ConditionalConflict):
                continue
            return changed
        raise ConditionalConflict(f"record {name!r} was changed by others {CHANGE_ATTEMPTS} times in a row; try again")

    async def delete_if(self, name: str, expected: Version) -> None:
        """Remove the record if it is still at version `expected`.  Raises PreconditionFailed, ConditionalConflict."""

        def judge(current: Row | None) -> Row:
            _check_version(name, current, expected)
            return Row(kind=Kind.TOMBSTONE, operation=b"", origin=ZERO, base=ZERO, modified_us=0)

        await self._cluster.conditional(self._key(name), judge)

    async def list(self, prefix: str = "") -> list[Entry[T]]:
        """All records whose names begin with `prefix`, in order of name."""
        found: list[Entry[T]] = []
        start: bytes | None = b""
        while start is not None:
            page = await self._cluster.scan(SYSTEM_BUCKET, Space.OBJECTS, prefix=self._prefix + prefix.encode(), start=start)
            found += [Entry(item.name[len(self._prefix) :].decode(), self._decode(item.row.record), item.row.origin) for item in page.rows]
            start = page.next_start
        return found

    def _key(self, name: str) -> RowKey:
        encoded = self._prefix + name.encode()
        if not name or len(encoded) > names.KEY_LIMIT_BYTES:
            raise InvalidArgument(f"{name!r} cannot name a record")
        return RowKey(SYSTEM_BUCKET, Space.OBJECTS, encoded)

    def _draft(self, value: T) -> Row:
        encoded = self._encode(value)
        if len(encoded) > VALUE_LIMIT_BYTES:
            raise InvalidArgument(f"a record of {len(encoded)} bytes is larger than the {VALUE_LIMIT_BYTES} allowed")
        return Row(kind=Kind.RECORD, operation=b"", origin=ZERO, base=ZERO, modified_us=0, record=encoded)


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """Who may act alone, until when by the clock of whoever asks, and under which fencing token.

    Clocks differ, so a holder can be overtaken before its time: what must never happen twice carries `token`, which grows
    with every change of holder, and is refused by its receiver when it has seen a higher one.
    """

    record_version: int
    holder: str
    expires_us: int
    token: int


class Leases:
    """Leases of one kind."""

    def __init__(self, cluster: ClusterApi, clock: Clock, kind: str) -> None:
        self._clock = clock
        self._records = Records(cluster, f"lease-{kind}", Lease)

    async def acquire(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Take or renew a lease; None while another holder has it, or when another got it at this moment."""
        now_us = self._clock.wall_us()
        entry = await self._records.get(name)
        current = entry.value if entry is not None else None
        # One that would last much longer than leases do is from a clock that was wrong, and would keep everybody out until then.
        holds = current is not None and now_us < current.expires_us <= now_us + int(ttl_s * 1e6) + CLOCKS_APART_US
        if current is not None and current.holder != holder and holds:
            return None
        renewed = current is not None and current.holder == holder and holds
        token = (current.token if current is not None else 0) + (0 if renewed else 1)
        lease = Lease(record_version=1, holder=holder, expires_us=now_us + int(ttl_s * 1e6), token=token)
        try:
            await self._records.put_if(name, lease, entry.version if entry is not None else None)
        except (PreconditionFailed, ConditionalConflict):
            return None
        return lease

    async def release(self, name: str, lease: Lease) -> None:
        """Give a lease back before its time; nothing happens when it is another's by now.  The token is kept for the next holder."""
        entry = await self._records.get(name)
        if entry is not None and entry.value.holder == lease.holder and entry.value.token == lease.token:
            with contextlib.suppress(PreconditionFailed, ConditionalConflict):
                await self._records.put_if(name, msgspec.structs.replace(entry.value, expires_us=0), entry.version)


def _check_version(name: str, current: Row | None, expected: Version | None) -> None:
    found = current.origin if current is not None and is_live(current) else None
    if found != expected:
        raise PreconditionFailed(f"record {name!r} is at another version", condition="version")
