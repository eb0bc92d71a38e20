"""Lays a new cluster: directories, generated secrets, formatted devices, the first ring.  There are no default secrets.

cluster.toml is written last: a directory without it holds no cluster, and what an interrupted attempt left is replaced.
"""

import asyncio
import base64
import dataclasses
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from objstore.cli.layout import (
    DEFAULT_POLICY,
    REPLICAS,
    Layout,
    NodeEntry,
    Place,
    node_address,
    write_cluster,
    write_file,
    zone_name,
)
from objstore.errors import InvalidArgument
from objstore.identity.logic import Credentials, parse_identities
from objstore.identity.model import User
from objstore.runtime.config import ConfigError, render_toml
from objstore.runtime.world import World

OVERLOAD = 0.1
REGION = "region1"
PARTITIONS_PER_DEVICE = 32  # balance within a few percent, and room to grow to eight times the devices
MIN_PART_POWER = 8
ACCESS_KEY_PREFIX = "OK"


@dataclasses.dataclass(frozen=True)
class Admin:
    """The generated administrator."""

    user: str
    project: str
    password: str
    access_key: str
    secret_key: str


async def create_cluster(
    world: World, place: Place, layout: Layout, *, sections: Mapping[str, Mapping[str, Any]], identities: Path | None
) -> None:
    """Make everything below `place.root`.  Raises ConfigError, OSError."""
    for path in (place.root, place.secrets, place.ring_file.parent, place.log, place.run):
        _make_directory(path, 0o700)
    write_file(place.cluster_key_file, world.rng.token(32).hex().encode() + b"\n", mode=0o600)
    admin = _new_admin(world)
    write_file(place.admin_file, render_toml({"admin": dataclasses.asdict(admin)}).encode(), mode=0o600)
    write_identities(place, admin, identities)
    if layout.tls:
        from objstore.cli.tls import make_certificates

        make_certificates(place.tls, wall_us=world.clock.wall_us(), domains=tuple(sections.get("s3", {}).get("domains", ())))
    made = await asyncio.gather(*(make_node(world, place, layout, entry) for entry in layout.node))
    incarnations = dict(zip((entry.name for entry in layout.node), made, strict=True))
    for policy in ("", *(entry.name for entry in layout.policy)):
        first_ring(world, place, layout, incarnations, policy)
    write_cluster(place, layout, sections)


async def make_node(world: World, place: Place, layout: Layout, entry: NodeEntry) -> list[bytes]:
    """A node's directory with formatted devices; their incarnations in order."""
    from objstore.node.engine.identity import format_device

    user = layout.user(entry.name)
    _make_directory(place.directory(entry.name), 0o700, user)
    directories = place.device_directories(entry)
    for directory in directories:
        _make_directory(directory, 0o700, user)
    incarnations = await asyncio.gather(*(format_device(world, str(directory)) for directory in directories))
    for directory in directories:
        own(directory, user)
    return incarnations


def own(directory: Path, user: int | None) -> None:
    """Give a directory and all in it to a node's user."""
    if user is None:
        return
    for parent, directories, files in os.walk(directory):
        for name in (".", *directories, *files):
            os.chown(Path(parent, name), user, user, follow_symlinks=False)


def part_power(devices: int) -> int:
    """Log2 of the number of partitions for that many devices at the start."""
    return max(MIN_PART_POWER, (devices * PARTITIONS_PER_DEVICE - 1).bit_length())


def read_admin(place: Place) -> Admin:
    """The administrator's keys as they were generated."""
    try:
        return Admin(**tomllib.loads(place.admin_file.read_text())["admin"])
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as failure:
        raise ConfigError(f"{place.admin_file} cannot be read ({failure}); it holds the administrator's keys") from failure


def write_identities(place: Place, admin: Admin, extra: Path | None) -> None:
    """The administrator and those of an identities file, for the proxies.  Raises ConfigError."""
    tables: dict[str, list[dict[str, Any]]] = {
        "user": [
            {
                "account": admin.project, "name": admin.user, "access_key": admin.access_key, "secret_key": admin.secret_key,
                "display_name": admin.user, "admin": True,
            }
        ]
    }  # fmt: skip
    if extra is not None:
        try:
            text = extra.read_text()
            Credentials([*msgspec.convert(tables["user"], list[User]), *parse_identities(text).user])
        except (OSError, UnicodeDecodeError, InvalidArgument) as failure:
            raise ConfigError(f"identities file {extra} cannot be used: {failure}") from failure
        for kind, rows in tomllib.loads(text).items():
            tables.setdefault(kind, []).extend(rows)
    write_file(place.identities_file, _array_tables(tables).encode(), mode=0o600)


def _array_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    blocks = [render_toml({kind: row}).replace(f"[{kind}]", f"[[{kind}]]", 1) for kind, rows in tables.items() for row in rows]
    return "\n".join(blocks)


def _new_admin(world: World) -> Admin:
    # The alphabets that S3 clients expect: 20 capital letters and digits, 40 characters that need no quoting.
    access_key = ACCESS_KEY_PREFIX + base64.b32encode(world.rng.token(12)).decode().rstrip("=")[:18]
    secret_key = base64.urlsafe_b64encode(world.rng.token(30)).decode().replace("-", "x").replace("_", "y")
    password = base64.b32encode(world.rng.token(15)).decode().lower()
    return Admin(user="admin", project="admin", password=password, access_key=access_key, secret_key=secret_key)


def first_ring(world: World, place: Place, layout: Layout, incarnations: Mapping[str, Sequence[bytes]], policy: str = "") -> None:
    """Publish the first ring of a policy over all of its nodes' devices."""
    from ring import builder, files
    from ring.model import Device, RingSpec

    devices = [
        Device(
            id=number, node=entry.name, address=node_address(entry), region=REGION, zone=zone_name(entry.zone), weight=1.0,
            incarnation=incarnation, path=str(directory),
        )
        for number, (entry, directory, incarnation) in enumerate(
            (entry, directory, incarnation)
            for entry in layout.of_policy(policy).node
            for directory, incarnation in zip(place.device_directories(entry), incarnations[entry.name], strict=True)
        )
    ]  # fmt: skip
    further = layout.find_policy(policy)
    spec = RingSpec(
        policy=policy or DEFAULT_POLICY,
        replica_count=min(REPLICAS, len(devices)) if further is None else further.replicas,
        part_power=part_power(len(devices)),
        hash_seed=int.from_bytes(world.rng.token(8), "big"),
        min_part_hours=0.0,  # an operator of one machine's cluster changes it when he likes; the rebalancer guards the data
        overload=OVERLOAD,
    )
    files.save(place.ring_of(policy), builder.create(spec, devices))


def _make_directory(path: Path, mode: int, user: int | None = None) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if user is not None:
        os.chown(path, user, user)
