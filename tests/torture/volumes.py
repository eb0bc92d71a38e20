"""A volume's process killed under load, and the power of its disk cut, again and again: what comes back must be the volume as it was after
some number of writes, in their order, and no fewer than were flushed.

Each block of the volume holds the number of the write that it comes from.  So the highest number found says how far the volume came, and every
block must then be as the last write up to that number left it.
"""

import contextlib
import random
import subprocess
import threading
import time
from pathlib import Path

from tests.support.nbd import NbdClient, Server, VolumeCommands, need_tools
from tests.torture.crash import cut, make_disk, remount
from tests.torture.harness import Cluster, Violation

BLOCK = 4096
SIZE = 24 << 20


class Writer:
    """Writes numbered blocks from a thread of its own, one after the other, until the server is gone."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.last = 0  # the last write answered
        self.begun = 0  # the last write sent
        self.flushed = 0  # no write up to here may be lost
        self.flushes = 0
        self.history: dict[int, list[int]] = {}  # block -> numbers of the writes to it
        self._doubt = False
        self._thread: threading.Thread | None = None

    def start(self, path: Path, export: str) -> None:
        self._doubt = False
        self._thread = threading.Thread(target=self._run, args=(path, export), daemon=True)
        self._thread.start()

    def doubt(self) -> None:
        """From now on a flush that is answered promises nothing: the disk is being cut."""
        self._doubt = True

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive(), "the client still waits for a server that is gone"

    def _run(self, path: Path, export: str) -> None:
        with contextlib.suppress(OSError):
            client = NbdClient(path, export)
            try:
                while True:
                    self._write(client)
                    if self.rng.random() < 0.05:
                        covered = self.last
                        client.flush()
                        if not self._doubt:
                            self.flushed = covered
                            self.flushes += 1
            finally:
                client.close()

    def _write(self, client: NbdClient) -> None:
        first = self.rng.randrange(SIZE // BLOCK)
        count = min(self.rng.choice([1, 1, 1, 4, 40]), SIZE // BLOCK - first)
        self.begun += 1
        for block in range(first, first + count):
            self.history.setdefault(block, []).append(self.begun)
        if self.rng.random() < 0.1:
            client.zero(first * BLOCK, count * BLOCK)
            for block in range(first, first + count):
                self.history[block][-1] = -self.begun  # zeros, written by that number
        else:
            client.write(first * BLOCK, content(self.begun) * count)
        self.last = self.begun

    def check(self, path: Path, export: str) -> str:
        """Read everything and judge; from here on the volume is what was found.  Raises Violation."""
        client = NbdClient(path, export)
        try:
            data = b"".join(client.read(at, 1 << 20) for at in range(0, SIZE, 1 << 20))
        finally:
            client.close()
        found = {block: int.from_bytes(data[block * BLOCK : block * BLOCK + 8], "big") for block in range(SIZE // BLOCK)}
        for block, number in found.items():
            expected = content(number) if number else bytes(BLOCK)
            if data[block * BLOCK : (block + 1) * BLOCK] != expected:
                raise Violation(f"block {block} begins as write {number} left it and goes on otherwise")
        reached = max([self.flushed, *found.values()])
        # Zeros carry no number: how far they reach is tried for the writes in flight.
        for upto in range(reached, self.begun + 1):
            if all(self._as_of(block, upto) == number for block, number in found.items()):
                said = f"{upto} of {self.begun} writes are there, {self.flushed} were flushed"
                self._settle(upto)
                return said
        wrong = [(b, n, self._as_of(b, reached)) for b, n in found.items() if self._as_of(b, reached) != n][:5]
        raise Violation(f"flushed {self.flushed}, reached {reached}, begun {self.begun}; (block, found, expected): {wrong}")

    def _as_of(self, block: int, upto: int) -> int:
        """The number that the block holds after the writes up to `upto`; 0 for zeros."""
        last = 0
        for number in self.history.get(block, ()):
            if abs(number) > upto:
                break
            last = max(number, 0)
        return last

    def _settle(self, upto: int) -> None:
        for block, numbers in self.history.items():
            self.history[block] = [n for n in numbers if abs(n) <= upto][-1:]
        self.flushed = upto


def content(number: int) -> bytes:
    """A block of a write."""
    return number.to_bytes(8, "big") + random.Random(number).randbytes(64) * ((BLOCK - 8) // 64) + bytes((BLOCK - 8) % 64)


def kills(directory: Path, *, rounds: int, load_s: float, port_base: int) -> str:
    """kill -9 of the volume's process while the writer writes and fio verifies another volume through it."""
    need_tools("fio")
    cluster = Cluster(directory / "c", port_base=port_base)
    cluster.up()
    rng = random.Random(rounds)
    writer = Writer(1)
    try:
        volumes = VolumeCommands(cluster.directory)
        first = volumes("create", "--size", "24M")["id"]
        second = volumes("create", "--size", "24M")["id"]
        server = Server(volumes, _made(directory / "s"), first, second)
        for number in range(rounds):
            server.start()
            said = writer.check(server.socket, first) if number else "begun"
            writer.start(server.socket, first)
            fio = _fio(server, second)
            time.sleep(load_s * rng.uniform(0.3, 1.7))
            server.kill()
            writer.join()
            fio.wait(60)
            print(f"kill {number + 1}/{rounds}: {said}; {writer.flushes} flushes in all", flush=True)
        assert writer.flushes, "nothing was flushed: this proved nothing"
        server.start()
        said = writer.check(server.socket, first)
        done = _fio(server, second, "--do_verify=1", "--size=16m")
        if done.wait(300):
            raise Violation(f"fio found what it had not written, see {directory / 's' / 'fio.log'}")
        server.stop()
    finally:
        cluster.down()
    return f"{rounds} kills, {writer.flushes} flushes; {said}"


def power_cuts(directory: Path, *, rounds: int, load_s: float, port_base: int, prefix: tuple[str, ...] = ()) -> str:
    """Cut the file system under the journal; needs root and a private mount namespace (unshare -m)."""
    cluster = Cluster(directory / "c", port_base=port_base)
    cluster.up()
    writer = Writer(2)
    try:
        volumes = VolumeCommands(cluster.directory, prefix)
        made = volumes("create", "--size", "24M")["id"]
        image, mount = directory / "disk.img", directory / "mnt"
        make_disk(image, mount)
        for number in range(rounds):
            server = Server(volumes, _made(directory / "s"), made, options=("--state", str(mount / "state"), "--holder", "cut"))
            server.start()
            said = writer.check(server.socket, made) if number else "begun"
            writer.start(server.socket, made)
            time.sleep(load_s)
            writer.doubt()
            cut(mount)
            server.kill()
            writer.join()
            remount(image, mount)
            print(f"cut {number + 1}/{rounds}: {said}; {writer.flushes} flushes in all", flush=True)
        server.start()
        said = writer.check(server.socket, made)
        server.stop()
        assert writer.flushes, "nothing was flushed: this proved nothing"
    finally:
        cluster.down()
        subprocess.run(["umount", "-l", str(directory / "mnt")], check=False, capture_output=True)
    return f"{rounds} power cuts under the journal, {writer.flushes} flushes, none lost; {said}"


def power_cut_control(directory: Path, *, rounds: int, load_s: float, port_base: int) -> str:
    """The same with flushes turned into nothing: must lose something."""
    try:
        power_cuts(directory, rounds=rounds, load_s=load_s, port_base=port_base, prefix=("eatmydata",))
    except (Violation, AssertionError) as loss:
        return f"the control without flushes lost data, as it must: {str(loss)[:200]}"
    raise Violation(f"{rounds} power cuts without any flush lost nothing: this test cannot fail and proves nothing")


def _fio(server: Server, export: str, *more: str) -> "subprocess.Popen[bytes]":
    with (server.log.parent / "fio.log").open("ab") as log:
        return subprocess.Popen(
            ["fio", "--name=v", "--ioengine=nbd", f"--uri={server.uri(export)}", "--rw=randwrite", "--bs=4k", "--size=24m", "--iodepth=8",
             "--verify=crc32c", "--verify_backlog=64", "--fsync=32", "--verify_fatal=1", *more],
            stdout=log, stderr=log, cwd=server.log.parent,
        )  # fmt: skip


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
