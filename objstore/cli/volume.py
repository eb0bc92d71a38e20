"""`objstore volume`: volumes from the command line; `serve` is the process that exports them over NBD.

One JSON object an answer.  What services do through their APIs is the same code (`objstore/services/volume/`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO

import click

from objstore.cli.directory import cluster_directory
from objstore.cli.errors import complain
from objstore.cli.volume_store import Opened, open_volumes
from objstore.errors import ObjstoreError
from objstore.runtime.config import ConfigError
from objstore.services.volume.layout import DEFAULT_CHUNK_BYTES, SNAPSHOT, Head, Pin, volume_id
from objstore.services.volume.readers import reading
from objstore.services.volume.sweep import Sweeper, end_old_clones
from objstore.services.volume.transfer import load, pour

PIECE_BYTES = 1024 * 1024
CALL_TIMEOUT_S = 300.0  # a snapshot waits for everything that was written to be in the store
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType[int]):
    """A number of bytes, with K, M, G or T for powers of 1,024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        number, unit = (value[:-1], value[-1].upper()) if value[-1:].isalpha() else (value, "")
        if not number.isdigit() or unit not in UNITS:
            self.fail(f"{value!r} is no size: a number of bytes, or of K, M, G, T", param, ctx)
        return int(number) * UNITS[unit]


class VolumeId(click.ParamType[bytes]):
    """A volume's or snapshot's id."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Its 16 bytes."""
        if isinstance(value, bytes):
            return value
        try:
            return volume_id(value)
        except ObjstoreError as failure:
            self.fail(failure.message, param, ctx)


SIZE, ID = Size(), VolumeId()


@click.group()
def volume() -> None:
    """Volumes: block devices whose chunks are objects of the store."""


@volume.command()
@cluster_directory
@click.option("--size", required=True, type=SIZE, help="Length of the device, such as 10G.")
@click.option("--chunk-size", default=DEFAULT_CHUNK_BYTES, type=SIZE, help="64K to 16M, a power of two.")
@click.option("--name", default="", help="What `objstore volume list` shows besides the id.")
def create(directory: Path, size: int, chunk_size: int, name: str) -> int:
    """Make a volume of zeros."""

    async def do(opened: Opened) -> Any:
        return show_head(await opened.volumes.create(size, chunk_bytes=chunk_size, name=name))

    return run(directory, do)


@volume.command("list")
@cluster_directory
def list_volumes(directory: Path) -> int:
    """All volumes."""

    async def do(opened: Opened) -> Any:
        return {"volumes": [show_head(head) for head in await opened.volumes.list()]}

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
def show(directory: Path, volume: bytes) -> int:
    """One volume."""

    async def do(opened: Opened) -> Any:
        return show_head(await opened.volumes.head(volume))

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
@click.option("--size", required=True, type=SIZE, help="Its new length, such as 20G; never shorter than it is.")
def resize(directory: Path, volume: bytes, size: int) -> int:
    """Make a volume longer that nobody has attached."""

    async def do(opened: Opened) -> Any:
        return show_head(await opened.volumes.resize(volume, size))

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
@click.option("--name", default="", help="What `objstore volume list` shows besides the id.")
@click.option("--drop", type=ID, help="Let go of this snapshot instead of making one.")
def snapshot(directory: Path, volume: bytes, name: str, drop: bytes | None) -> int:
    """Keep what the store has of a volume now."""

    async def do(opened: Opened) -> Any:
        if drop is not None:
            await opened.volumes.drop_snapshot(volume, drop)
            return {"dropped": drop.hex()}
        return show_pin(await opened.volumes.snapshot(volume, name=name))

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
@click.option("--snapshot", type=ID, help="Begin with this snapshot instead of what the store has now.")
@click.option("--size", default=0, type=SIZE, help="Make it longer than what it is cloned from.")
@click.option("--name", default="", help="What `objstore volume list` shows besides the id.")
def clone(directory: Path, volume: bytes, snapshot: bytes | None, size: int, name: str) -> int:
    """Make a volume that begins with another's bytes; none is copied."""

    async def do(opened: Opened) -> Any:
        return show_head(await opened.volumes.clone(volume, snapshot=snapshot or b"", size_bytes=size, name=name))

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
@click.option("--force", is_flag=True, help="Also when it is attached.")
def delete(directory: Path, volume: bytes, *, force: bool) -> int:
    """Remove a volume without snapshots."""

    async def do(opened: Opened) -> Any:
        await opened.volumes.delete(volume, force=force)
        return {"deleted": volume.hex()}

    return run(directory, do)


@volume.command("import")
@cluster_directory
@click.argument("volume", type=ID)
@click.argument("source", type=click.File("rb"))
def import_(directory: Path, volume: bytes, source: BinaryIO) -> int:
    """Write a raw image, from a file or - for standard input, into a blank volume."""

    async def pieces() -> AsyncIterator[bytes]:
        while piece := source.read(PIECE_BYTES):
            yield piece

    async def do(opened: Opened) -> Any:
        written = await load(opened.objects, opened.world, volume, opened.settings, pieces(), holder="import")
        return {"bytes": written}

    return run(directory, do)


@volume.command()
@cluster_directory
@click.argument("volume", type=ID)
@click.argument("target", type=click.File("wb"))
@click.option("--snapshot", type=ID, help="This snapshot instead of what the store has now.")
def export(directory: Path, volume: bytes, target: BinaryIO, snapshot: bytes | None) -> int:
    """Write a volume's bytes as a raw image to a file, or - for standard output."""

    async def do(opened: Opened) -> Any:
        async with reading(opened.objects, opened.world, volume, opened.settings, snapshot=snapshot or b"", who="export") as source:
            async for piece in pour(source.device):
                target.write(piece)
        return {"bytes": source.device.size_bytes}

    return run(directory, do, answer=sys.stderr)


@volume.command()
@cluster_directory
@click.option(
    "--grace", default=3600.0, show_default=True, help="Seconds for which what nobody names is kept for readers that opened it before."
)
def sweep(directory: Path, grace: float) -> int:
    """Remove chunks that no volume and no snapshot names."""

    async def do(opened: Opened) -> Any:
        swept = await Sweeper(opened.objects, grace_s=grace).run()
        ended = await end_old_clones(opened.volumes, list(swept.heads.values()))
        return {
            "volumes": swept.volumes, "candidates": swept.candidates, "named": swept.named, "readers": swept.readers, "removed": swept.removed,
            "kept_young": swept.kept_young, "kept_open": swept.kept_open, "clones_given_up": ended,
        }  # fmt: skip

    return run(directory, do)


@volume.command()
@cluster_directory
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where journals are kept; default: volumes/ in the cluster's directory.",
)
@click.option("--socket", "sockets", multiple=True, type=click.Path(dir_okay=False, path_type=Path), help="Unix socket to serve NBD on.")
@click.option("--tcp", "ports", multiple=True, type=click.IntRange(1, 65535), help="Port of 127.0.0.1 to serve NBD on.")
@click.option("--force", is_flag=True, help="Attach volumes that are attached elsewhere; what the store has not of them is given up.")
@click.option("--holder", default="", help="The name of this host, for ever; default: its host name and the state's directory.")
@click.option("--control", type=click.Path(dir_okay=False, path_type=Path), help="Unix socket to be asked on, see `objstore volume ask`.")
@click.argument("volumes", nargs=-1)
def serve(
    directory: Path,
    state: Path | None,
    sockets: tuple[Path, ...],
    ports: tuple[int, ...],
    *,
    force: bool,
    holder: str,
    control: Path | None,
    volumes: tuple[str, ...],
) -> int:
    """Attach volumes (ID) or open snapshots (ID@SNAPSHOT) and export them over NBD until SIGTERM."""
    from objstore.cli.volume_serve import Serving, serve_volumes

    addresses = [*(f"unix:{path.absolute()}" for path in sockets), *(f"tcp:127.0.0.1:{port}" for port in ports)]
    if not addresses:
        return complain("nothing to serve on", hint="give --socket PATH or --tcp PORT", code=2)
    return serve_volumes(Serving(directory.absolute(), state, tuple(addresses), volumes, holder=holder, force=force, control=control))


@volume.command()
@click.option(
    "--control", required=True, type=click.Path(exists=True, path_type=Path), help="The socket of a running `objstore volume serve`."
)
@click.argument("call")
@click.argument("arguments", nargs=-1)
def ask(control: Path, call: str, arguments: tuple[str, ...]) -> int:
    """Ask a process that serves volumes: attach, detach, snapshot, resize, commit, served; arguments as NAME=VALUE."""
    import msgspec

    from objstore.cli.volume_calls import parse
    from objstore.cli.world import system_world
    from objstore.daemons import control as door

    pairs = dict(text.partition("=")[::2] for text in arguments)
    try:
        request = parse(call, pairs)
    except msgspec.ValidationError as failure:
        return complain(str(failure), code=2)
    try:
        answer = asyncio.run(door.ask(system_world(), f"unix:{control.absolute()}", request, dict, timeout_s=CALL_TIMEOUT_S))
    except ObjstoreError as failure:
        return complain(str(failure))
    print(json.dumps(answer))
    return 0


def run(directory: Path, do: Callable[[Opened], Awaitable[Any]], *, answer: Any = None) -> int:
    """Run one command against the store and print its answer."""
    import uvloop

    async def main() -> Any:
        async with open_volumes(directory) as opened:
            return await do(opened)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(main())), file=answer or sys.stdout)
    except (ObjstoreError, ConfigError, OSError) as failure:
        return complain(str(failure))
    return 0


def show_head(head: Head) -> dict[str, Any]:
    """A volume as the answers show it."""
    return {
        "id": head.volume.hex(), "name": head.name, "size": head.size_bytes, "chunk_size": head.chunk_bytes, "holder": head.holder,
        "epoch": head.epoch, "generation": head.generation, "created_us": head.created_us,
        "snapshots": [show_pin(pin) for pin in head.pins if pin.kind == SNAPSHOT],
    }  # fmt: skip


def show_pin(pin: Pin) -> dict[str, Any]:
    """A snapshot as the answers show it."""
    return {"id": pin.id.hex(), "name": pin.name, "size": pin.tree.size_bytes, "created_us": pin.created_us}
