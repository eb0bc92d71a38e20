"""What a node may answer: its ring epoch, its devices, and which partitions each of them serves.

The rules that the handover leans on are here.  A request is admitted only in exactly the epoch that the node has durably
adopted; when the epoch changes, requests of the new one wait (`LocalDevice.held`) until every change admitted under the
old one is flushed or failed: whoever answers in epoch e refuses everything older, and has nothing older in hand.
Nothing here does I/O; `node/rings.py` drives the change of a ring.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import msgspec

from objstore.core.timestamp import MAX_AHEAD_US, Ballot, wall_us_of
from objstore.errors import (
    BallotTooFarAhead,
    DeviceOffline,
    NewerEpoch,
    NoSuchDevice,
    Refused,
    StaleEpoch,
    TooBusy,
    WrongIncarnation,
)
from objstore.node.checks import check_ballots, check_partition
from objstore.node.engine.api import EngineApi
from objstore.wire.messages import Request
from objstore.wire.server import Call
from ring.lookup import Ring

CURRENT, PREVIOUS = 1, 2  # bits of `View.roles`
# Requests of the new epoch that may wait for one device while it finishes the old epoch's.
MAX_HELD = 8192
# Changes of one device that wait for their flush, and the payloads that they hold in memory meanwhile.
MAX_CHANGES = 20_000
MAX_CHANGE_BYTES = 256 * 1024 * 1024

NOTE_EPOCH = "epoch"  # highest ring epoch in which the device has served, decimal
NOTE_IN_SYNC = "in_sync"  # encoded InSyncNote

_NOBODY: tuple[int, ...] = ()


class InSyncNote(msgspec.Struct, frozen=True, array_like=True):
    """Kept in the engine: which moving partitions the device has been refilled with, for one epoch."""

    epoch: int
    partitions: list[int]


def encode_in_sync(epoch: int, partitions: Iterable[int]) -> bytes:
    """The note's bytes."""
    return msgspec.msgpack.encode(InSyncNote(epoch, sorted(partitions)))


def decode_in_sync(data: bytes | None, epoch: int) -> frozenset[int]:
    """Partitions marked for exactly `epoch`; a note of another epoch says nothing.  Raises msgspec.DecodeError."""
    if data is None:
        return frozenset()
    note = msgspec.msgpack.decode(data, type=InSyncNote)
    return frozenset(note.partitions) if note.epoch == epoch else frozenset()


@dataclass(frozen=True)
class View:
    """What one ring says about one device."""

    device: int
    roles: bytes  # per partition: CURRENT | PREVIOUS
    reading: bytes  # per partition: 1 when the device is in the read set (the previous one while it moves)
    refilling: frozenset[int]  # moving partitions that this device takes over


def view_of(ring: Ring, device: int) -> View:
    """Look at every partition of the device once; slow for large rings, so call it in a thread."""
    roles = bytearray(ring.partition_count)
    reading = bytearray(ring.partition_count)
    refilling = []
    for partition in ring.partitions_of(device):
        previous = ring.previous(partition)
        if device in ring.primaries(partition):
            roles[partition] |= CURRENT
        if previous is None:
            reading[partition] = 1
        elif device in previous:
            roles[partition] |= PREVIOUS
            reading[partition] = 1
        else:
            refilling.append(partition)
    return View(device, bytes(roles), bytes(reading), frozenset(refilling))


class Condition(Enum):
    """State of a device on its node, as reports name it."""

    UP = "up"
    NEW = "new"  # formatted here, and no ring names this incarnation
    OFFLINE = "offline"  # it did not open, or an I/O error took it out of service


class LocalDevice:
    """One device directory of this node."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.engine: EngineApi | None = None
        self.incarnation = b""
        self.detail = ""  # why nothing is admitted to it
        self.view: View | None = None  # None: the ring does not name it
        self.pending: frozenset[int] = frozenset()  # of view.refilling, what is not in sync yet
        self.silent: tuple[int, ...] = _NOBODY  # `pending` in order
        self.held: list[tuple[Call, float]] | None = None  # not None: requests wait here, each with its time of arrival
        self.changes = 0  # changes admitted and not yet flushed or failed
        self.change_bytes = 0  # payloads of these
        self.noted_epoch = 0  # as in the engine's notes
        self._drained: Callable[[], None] | None = None

    @property
    def condition(self) -> Condition:
        """What to call its state."""
        if self.engine is None or self.detail or self.engine.trouble:
            return Condition.OFFLINE
        return Condition.UP if self.view is not None else Condition.NEW

    def open(self) -> EngineApi:
        """The engine.  Raises DeviceOffline."""
        if self.engine is None:
            raise DeviceOffline(f"{self.directory} is out of service: {self.detail}")
        return self.engine

    def votes(self, partition: int) -> bool:
        """Whether what it holds of a partition says anything: not before it is refilled."""
        return partition not in self.pending

    def set_pending(self, partitions: Iterable[int]) -> None:
        """Replace the set of partitions that are still to be refilled."""
        self.pending = frozenset(partitions)
        self.silent = tuple(sorted(self.pending))

    def hold(self, call: Call, now: float) -> None:
        """Keep a request until the old epoch's changes are done.  Raises TooBusy."""
        assert self.held is not None
        if len(self.held) >= MAX_HELD:
            raise TooBusy(f"{MAX_HELD} requests wait for {self.directory} to finish the old epoch")
        self.held.append((call, now))

    def change_begins(self, size_bytes: int = 0) -> None:
        """A change that holds `size_bytes` of payload was admitted; `change_ends` must follow whatever comes of it.

        Raises TooBusy (then nothing follows).
        """
        if self.changes >= MAX_CHANGES or self.change_bytes + size_bytes > MAX_CHANGE_BYTES:
            raise TooBusy(f"{self.directory} has {self.changes} changes with {self.change_bytes} bytes in hand")
        self.changes += 1
        self.change_bytes += size_bytes

    def change_ends(self, size_bytes: int = 0) -> None:
        """It is flushed, refused or failed."""
        self.changes -= 1
        self.change_bytes -= size_bytes
        if not self.changes and self._drained is not None:
            self._drained()
            self._drained = None

    def when_drained(self, tell: Callable[[], None]) -> None:
        """Call `tell` when no change is in hand, at once if so already."""
        if self.changes:
            self._drained = tell
        else:
            tell()


class NodeState:
    """The ring in use and the devices by their id in it."""

    def __init__(self, devices: Iterable[LocalDevice], *, wall_us: Callable[[], int]) -> None:
        self.devices = list(devices)
        self.ring: Ring | None = None
        self.ring_bytes = b""
        self.epoch = 0  # 0: no ring yet
        self._wall_us = wall_us
        self._by_id: dict[int, LocalDevice] = {}

    def switch(self, ring: Ring, ring_bytes: bytes, views: dict[bytes, View]) -> None:
        """Act on a ring that is durable here; `views` by incarnation.  From now on the old epoch is refused.

        Every device that it names holds requests back until `node/rings.py` has let the old epoch drain.
        """
        assert ring.epoch > self.epoch
        self.ring = ring
        self.ring_bytes = ring_bytes
        self.epoch = ring.epoch
        for device in self.devices:
            self.place(device, views.get(device.incarnation))

    def place(self, device: LocalDevice, view: View | None) -> None:
        """Give a device its place in the ring in use (None: it has none) and hold its requests back."""
        self._by_id = {id_: known for id_, known in self._by_id.items() if known is not device}
        device.view = view
        device.set_pending(view.refilling if view is not None else ())
        if view is not None:
            self._by_id[view.device] = device
            if device.held is None:
                device.held = []

    def admit(self, request: Request) -> LocalDevice:
        """The device that a request is for.

        Raises StaleEpoch, NewerEpoch, NoSuchDevice, WrongIncarnation or DeviceOffline.
        """
        if request.epoch != self.epoch:
            if request.epoch < self.epoch:
                raise StaleEpoch(f"epoch {request.epoch} is over, this node is at {self.epoch}", epoch=self.epoch)
            raise NewerEpoch(f"this node is at epoch {self.epoch}, not yet at {request.epoch}", epoch=self.epoch)
        device = self._by_id.get(request.device)
        if device is None:
            raise self._missing(request)
        if device.incarnation != request.incarnation:
            raise WrongIncarnation(f"device {request.device} is not the one that the sender means")
        if device.detail:
            raise DeviceOffline(f"{device.directory} is out of service: {device.detail}")
        if device.noted_epoch > self.epoch:
            raise DeviceOffline(f"{device.directory} has served in epoch {device.noted_epoch}, this node only knows {self.epoch}")
        return device

    def check_primary(self, device: LocalDevice, partition: int) -> None:
        """Raises Refused when the device is no primary of the partition, neither current nor previous."""
        assert device.view is not None
        if not 0 <= partition < len(device.view.roles) or not device.view.roles[partition]:
            raise Refused(f"device {device.view.device} is no primary of partition {partition} in epoch {self.epoch}")

    def check_partition(self, partition: int) -> None:
        """Raises InvalidArgument for a partition that the ring does not have."""
        assert self.ring is not None
        check_partition(partition, self.ring.partition_count)

    def check_droppable(self, device: LocalDevice, partition: int) -> None:
        """Raises Refused when the device is a primary that has a vote for the partition: its rows there must stay."""
        assert device.view is not None
        if not 0 <= partition < len(device.view.roles) or (device.view.roles[partition] and device.votes(partition)):
            raise Refused(f"device {device.view.device} is a primary of partition {partition} in epoch {self.epoch}")

    def check_ballot(self, ballot: Ballot) -> None:
        """Raises BallotTooFarAhead; InvalidArgument for what is no ballot."""
        check_ballots(ballot)
        now_us = self._wall_us()
        if wall_us_of(ballot) > now_us + MAX_AHEAD_US:
            ahead = f"ballot {ballot.hex()} is more than {MAX_AHEAD_US // 1_000_000} s ahead of this node's clock"
            raise BallotTooFarAhead(ahead, wall_us=now_us)

    def _missing(self, request: Request) -> Refused | DeviceOffline:
        named = self.ring.devices.get(request.device) if self.ring is not None else None
        if named is not None:
            for device in self.devices:
                if device.directory == named.path and device.engine is None:
                    return DeviceOffline(f"{device.directory} is out of service: {device.detail}")
                if device.directory == named.path:
                    return WrongIncarnation(f"{device.directory} was wiped or replaced since epoch {self.epoch} was made")
        return NoSuchDevice(f"device {request.device} is not on this node")
