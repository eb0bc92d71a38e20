"""Devices, tiers and ring specifications with their invariants.

A tier is a failure domain: region > zone > node > device.  Values here check themselves when they are made, so that a
device or a specification that exists is a valid one, wherever it came from.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNASSIGNED = -1  # the id of a device that is not in a ring yet; the builder gives it one

MAX_PART_POWER = 20  # a million partitions: tens of MB a ring file, enough for 10,000 devices
MAX_REPLICAS = 32  # the widest erasure code that makes sense (k + m)
MAX_DEVICES = 10_000
MAX_DEVICE_ID = (1 << 31) - 1  # ids are never reused, so there must be more of them than devices
MAX_EPOCH = (1 << 63) - 1
MAX_NAME_CHARS = 255  # a host name fits
MAX_PATH_CHARS = 4096
MAX_WEIGHT = 1e12  # weights may be bytes of capacity
MIN_WEIGHT = 1e-6  # smaller means 0; keeps sums of weights well above rounding errors
MAX_OVERLOAD = 1000.0
MAX_PART_HOURS = 24.0 * 366
INCARNATION_BYTES = 8


class RingError(ValueError):
    """A ring, or a change to one, that must not be; says what, why and what to do next."""

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(": ".join(text for text in (what, why) if text) + (f"; {hint}" if hint else ""))
        self.what = what
        self.why = why
        self.hint = hint


@dataclass(frozen=True)
class Device:
    """One storage device and the failure domains it lies in.

    `address` is its node's RPC address, "tcp:HOST:PORT" or "unix:/PATH".  `incarnation` is 8 random bytes made when the
    device was formatted: a device that was wiped comes back under a new id.  `weight` is its share of the data, in any
    unit that is the same for all devices; 0 means that it is drained.
    """

    id: int
    node: str
    address: str
    region: str
    zone: str
    weight: float
    incarnation: bytes
    path: str = ""

    def __post_init__(self) -> None:
        if not _is_int(self.id) or not UNASSIGNED <= self.id <= MAX_DEVICE_ID:
            raise RingError(f"device id {self.id!r} is not allowed", f"ids are 0 to {MAX_DEVICE_ID}, or {UNASSIGNED} for a new device")
        for field in ("node", "region", "zone"):
            _check_name(f"{field} of device {self.id}", getattr(self, field))
        _check_address(self.address)
        if not isinstance(self.path, str) or len(self.path) > MAX_PATH_CHARS or not (self.path.isprintable()):
            raise RingError(f"path of device {self.id} is not allowed", f"it must be printable and at most {MAX_PATH_CHARS} characters")
        if not _is_number(self.weight) or not (self.weight == 0 or MIN_WEIGHT <= self.weight <= MAX_WEIGHT):
            raise RingError(
                f"weight {self.weight!r} of device {self.id} is not allowed", f"a weight is 0 or from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
            )
        if not isinstance(self.incarnation, bytes) or len(self.incarnation) != INCARNATION_BYTES:
            raise RingError(
                f"incarnation of device {self.id} is not allowed",
                f"it must be the {INCARNATION_BYTES} bytes made when the device was formatted",
            )

    @property
    def tiers(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Its region, zone and node as failure domains that are unique in the whole ring."""
        return (self.region,), (self.region, self.zone), (self.region, self.zone, self.node)


@dataclass(frozen=True)
class RingSpec:
    """What does not change over the life of a ring.

    `hash_seed` keys the name hash (64 bits, the cluster's salt).  `overload` is how far above its fair share of the data
    a device may be filled to keep replicas in different failure domains: 0.1 allows 10 % more.
    """

    policy: str
    replica_count: int
    part_power: int
    hash_seed: int
    min_part_hours: float
    overload: float

    def __post_init__(self) -> None:
        _check_name("policy", self.policy)
        if not _is_int(self.replica_count) or not 1 <= self.replica_count <= MAX_REPLICAS:
            raise RingError(f"replica_count {self.replica_count!r} is not allowed", f"it must be 1 to {MAX_REPLICAS}")
        if not _is_int(self.part_power) or not 0 <= self.part_power <= MAX_PART_POWER:
            raise RingError(f"part_power {self.part_power!r} is not allowed", f"it must be 0 to {MAX_PART_POWER}")
        if not _is_int(self.hash_seed) or not 0 <= self.hash_seed < 1 << 64:
            raise RingError("hash_seed is not allowed", "it must be an unsigned integer of 64 bits")
        if not _is_number(self.min_part_hours) or not 0 <= self.min_part_hours <= MAX_PART_HOURS:
            raise RingError(f"min_part_hours {self.min_part_hours!r} is not allowed", f"it must be 0 to {MAX_PART_HOURS:g}")
        if not _is_number(self.overload) or not 0 <= self.overload <= MAX_OVERLOAD:
            raise RingError(
                f"overload {self.overload!r} is not allowed", f"it must be 0 to {MAX_OVERLOAD:g}", "0.1 lets a device hold 10 % more"
            )

    @property
    def partition_count(self) -> int:
        """Two to the power of `part_power`."""
        return 1 << self.part_power


def check_devices(devices: Iterable[Device]) -> tuple[Device, ...]:
    """The devices of one ring in order of id.  Raises RingError where two of them contradict each other."""
    ordered = tuple(sorted(devices, key=lambda device: device.id))
    if len(ordered) > MAX_DEVICES:
        raise RingError(f"{len(ordered)} devices are too many for one ring", f"the limit is {MAX_DEVICES}")
    ids: set[int] = set()
    incarnations: dict[bytes, int] = {}
    places: dict[str, tuple[str, ...]] = {}
    for device in ordered:
        if device.id in ids or device.id == UNASSIGNED:
            raise RingError(f"device id {device.id} is there twice or not assigned", "every device of a ring has its own id")
        ids.add(device.id)
        twin = incarnations.setdefault(device.incarnation, device.id)
        if twin != device.id:
            raise RingError(
                f"devices {twin} and {device.id} have the same incarnation",
                "it is made when a device is formatted and belongs to one device",
                "format the device anew, or leave out the one that is there already",
            )
        place = places.setdefault(device.node, device.tiers[1])
        if place != device.tiers[1]:
            raise RingError(
                f"node {device.node!r} is in zone {'/'.join(place)} and in zone {'/'.join(device.tiers[1])}",
                "a node is one machine and stands in one place",
                "name the nodes apart, or correct the zone",
            )
    return ordered


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable() or "/" in name:
        raise RingError(f"{what} {name!r} is not allowed", f"it must be 1 to {MAX_NAME_CHARS} printable characters without a slash")


def _check_address(address: str) -> None:
    if isinstance(address, str) and len(address) <= MAX_PATH_CHARS and address.isprintable():
        kind, _, rest = address.partition(":")
        host, _, port = rest.rpartition(":")
        if kind == "unix" and rest.startswith("/"):
            return
        if kind == "tcp" and host and port.isascii() and port.isdigit() and 0 < int(port[:6]) < 1 << 16:
            return
    raise RingError(f"address {address!r} is not allowed", "", "write tcp:HOST:PORT or unix:/PATH")
