"""Programs that look at bytes which guests and clients wrote: with no rights, no network, bounded memory, time and output.

As root a program runs as a user of its own without capabilities, in a network namespace with nothing in it; otherwise as who runs this
process, with the same bounds.  It cannot write to files at all: what it makes goes through a socket.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from objstore.runtime.commands import Output, run
from objstore.runtime.tasks import Threads

MAX_OUTPUT_BYTES = 1024 * 1024
MAX_FILES = 64
WRITE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Bounds:
    """What a program may use."""

    memory_bytes: int  # of address space
    timeout_s: float  # by the clock, and of its processors
    uid: int  # who it is, where this process is root


async def run_jailed(program: str, *arguments: str, bounds: Bounds, pass_fds: Collection[int] = ()) -> Output:
    """Run a program to its end, whatever its status.  Raises ProgramMissing; CommandFailed when it oversteps its bounds."""
    words = (*_fence(bounds), program, *arguments)
    return await run(
        words[0], *words[1:], timeout_s=bounds.timeout_s, max_output_bytes=MAX_OUTPUT_BYTES, check=False, pass_fds=pass_fds
    )  # fmt: skip


def _fence(bounds: Bounds) -> tuple[str, ...]:
    limits = (
        "prlimit", f"--as={bounds.memory_bytes}", f"--cpu={int(bounds.timeout_s) + 1}", "--fsize=0", f"--nofile={MAX_FILES}", "--core=0", "--",
    )  # fmt: skip
    if os.geteuid():
        return limits
    user = str(bounds.uid)
    rights = (
        "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--",
    )  # fmt: skip
    return ("unshare", "--net", "--ipc", "--", *rights, *limits)


@contextlib.contextmanager
def socket_directory(bounds: Bounds) -> Iterator[str]:
    """A directory for a socket that a jailed program connects to, which nobody else can enter; removed at the end."""
    path = tempfile.mkdtemp(prefix="objstore-")
    try:
        if not os.geteuid():
            os.chown(path, bounds.uid, bounds.uid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def give(path: str, bounds: Bounds) -> None:
    """Let a jailed program use a socket in its directory."""
    if not os.geteuid():
        os.chown(path, bounds.uid, bounds.uid)


@contextlib.asynccontextmanager
async def spooled(chunks: AsyncIterator[bytes | memoryview], directory: str, threads: Threads) -> AsyncIterator[int]:
    """A descriptor, to be read only, of a file without a name that holds these bytes; a jailed program opens it as /proc/self/fd/N.

    Raises OSError, and what reading the bytes raises.
    """
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(dir=directory)
    reading = -1
    try:
        try:
            # Opened anew by a user of its own, it is judged by its mode; its directory lets nobody in.
            os.fchmod(descriptor, 0o644)
            reading = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            Path(path).unlink()
        async for chunk in chunks:
            for start in range(0, len(chunk), WRITE_BYTES):
                await threads.run(_write_all, descriptor, bytes(memoryview(chunk)[start : start + WRITE_BYTES]))
        yield reading
    finally:
        for each in (descriptor, reading):
            if each >= 0:
                os.close(each)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
