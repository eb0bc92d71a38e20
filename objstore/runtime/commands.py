"""Programs of the system, run as processes: the only door to them for services.

A program is one of `PACKAGES`, or a path; its arguments are a list, never a line for a shell.  A short one (`run`) is given its whole input and
has a deadline and a limit for what it writes; it is killed, with what it started, when it oversteps them or when its caller goes away.  A long one
(`start`) leads a session of its own, so that it outlives this process, writes to a file, and is found again by its number and the
moment it was started, since numbers are used again.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from objstore.errors import Unavailable

# What is run, and where Debian keeps it.
PACKAGES = {
    "bridge": "iproute2",
    "dnsmasq": "dnsmasq-base",
    "genisoimage": "genisoimage",
    "ip": "iproute2",
    "mcopy": "mtools",
    "mformat": "mtools",
    "modprobe": "kmod",
    "nft": "nftables",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "radvd": "radvd",
}
_SYSTEM_PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Programs see nothing of this process's environment but this: no keys, no proxies, and answers in English.
ENVIRONMENT = {"PATH": _SYSTEM_PATHS, "LC_ALL": "C.UTF-8"}
TIMEOUT_S = 30.0
MAX_OUTPUT_BYTES = 8 * 1024 * 1024
SHOWN_CHARS = 600  # of what a program complains about, in an error's message
BURY_S = 5.0
_CHUNK_BYTES = 65_536
_POLL_S = 0.02


class ProgramMissing(Unavailable):
    """A program that is needed is not installed.  Facts: program, package."""


class CommandFailed(Unavailable):
    """A program ended with another status than 0, took too long or wrote too much.  Facts: program, code (-1 when it was killed), stderr."""


@dataclass(frozen=True)
class Output:
    """What a program left behind."""

    code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class Running:
    """A process, told from later ones of the same number by when it was started (clock ticks since boot)."""

    pid: int
    started: int


def find(program: str) -> str:
    """The path of a program, also where the caller's PATH leaves out /usr/sbin.  Raises ProgramMissing, which names the package."""
    if os.sep in program:
        return program
    path = shutil.which(program, path=_SYSTEM_PATHS) or shutil.which(program)
    if path is None:
        package = PACKAGES.get(program, program)
        message = f"the program {program} is not installed: apt-get install {package}"
        raise ProgramMissing(message, program=program, package=package)
    return path


async def run(
    program: str, *arguments: str, stdin: bytes = b"", timeout_s: float = TIMEOUT_S, max_output_bytes: int = MAX_OUTPUT_BYTES, check: bool = True,
    pass_fds: Collection[int] = (),
) -> Output:  # fmt: skip
    """Run a program to its end.  `pass_fds` are open in it under the same numbers.

    Raises ProgramMissing; CommandFailed after `timeout_s`, when standard output or error grows over `max_output_bytes`, and with `check` for
    any status but 0.
    """
    process = await asyncio.create_subprocess_exec(
        find(program), *arguments,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, start_new_session=True,
        pass_fds=tuple(pass_fds),
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await _talk(process, stdin, max_output_bytes)
            code = await process.wait()
    except TimeoutError:
        raise _failed(program, arguments, -1, f"it has not ended after {timeout_s:g} s") from None
    except _TooMuch:
        raise _failed(program, arguments, -1, f"it wrote more than {max_output_bytes} bytes") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(_bury(process))
    output = Output(code, stdout, stderr.decode(errors="replace"))
    if check and code:
        raise _failed(program, arguments, code, output.stderr)
    return output


class _TooMuch(Exception):
    pass


async def _talk(process: asyncio.subprocess.Process, stdin: bytes, limit: int) -> tuple[bytes, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    talks = [
        asyncio.ensure_future(talk) for talk in (_read(process.stdout, limit), _read(process.stderr, limit), _write(process.stdin, stdin))
    ]
    try:
        stdout, stderr, _ = await asyncio.gather(*talks)
    finally:
        for talk in talks:
            talk.cancel()
        await asyncio.wait(talks)
    assert isinstance(stdout, bytes)
    assert isinstance(stderr, bytes)
    return stdout, stderr


async def _bury(process: asyncio.subprocess.Process) -> None:
    """Wait for a process that was killed.  What it had written is read: before that, Python 3.11 does not tell that it has ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    with contextlib.suppress(TimeoutError):  # a program that left the session and kept the pipes is not waited for
        async with asyncio.timeout(BURY_S):
            await asyncio.gather(_discard(process.stdout), _discard(process.stderr), process.wait())


async def _discard(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK_BYTES):
        pass


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    # It did not want all of its input: its status tells why.  uvloop calls a pipe whose other end is gone before the write a RuntimeError.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        if data:
            stream.write(data)
            await stream.drain()
    stream.close()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    read = bytearray()
    while chunk := await stream.read(_CHUNK_BYTES):
        read += chunk
        if len(read) > limit:
            raise _TooMuch
    return bytes(read)


def _failed(program: str, arguments: Sequence[str], code: int, why: str) -> CommandFailed:
    line = " ".join((program, *arguments))[:SHOWN_CHARS]
    shown = why.strip()[-SHOWN_CHARS:] or f"status {code}"
    return CommandFailed(f"{line}: {shown}", program=program, code=code, stderr=why)


def start(program: str, *arguments: str, log: str, pass_fds: Collection[int] = (), directory: str = "/") -> Running:
    """Start a program that outlives this process; what it writes is added to the file `log`, and nothing is to be read from its input.

    `pass_fds` are open in it under the same numbers.  Raises ProgramMissing; OSError.
    """
    for known in list(_children):
        is_running(known)  # one that ended unseen gives its number back
    with Path(log).open("ab") as output:
        spawned = subprocess.Popen(
            (find(program), *arguments),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=directory,
            env=ENVIRONMENT, start_new_session=True, pass_fds=tuple(pass_fds),
        )  # fmt: skip
    started = _started(spawned.pid, or_ended=True)
    assert started is not None  # it is our child: its number is taken until it is waited for
    process = Running(spawned.pid, started)
    _children[process] = spawned
    return process


# Children of this process that were started here, kept until they are seen to have ended: only so are their numbers given back.
_children: dict[Running, "subprocess.Popen[bytes]"] = {}


def is_running(process: Running) -> bool:
    """Whether that very process is there and has not ended."""
    child = _children.get(process)
    if child is None:
        return _started(process.pid) == process.started
    if child.poll() is None:
        return True  # be it that its first thread is gone and others are not: it cannot be waited for yet, and would stay a zombie
    del _children[process]
    return False


def running(pid: int) -> Running | None:
    """The process that has this number now."""
    started = _started(pid)
    return None if started is None else Running(pid, started)


def processes_with(text: str) -> dict[Running, list[str]]:
    """Processes with an argument that starts with `text`, and their arguments: how one that is started anew finds what it had started."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            arguments = Path("/proc", entry, "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if any(argument.startswith(text) for argument in arguments) and (process := running(int(entry))):
            found[process] = arguments
    return found


def send_signal(process: Running, number: int) -> bool:
    """Send a signal to that very process; False when it has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if _started(process.pid) != process.started:  # the descriptor holds on to who has the number now: is that the one meant?
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def close(descriptor: int) -> None:
    """Close what a program was given and this process has no use for."""
    os.close(descriptor)


async def end(process: Running, *, timeout_s: float = 5.0) -> None:
    """End a process: politely at first, after `timeout_s` by force.  Returns when it is gone."""
    loop = asyncio.get_running_loop()
    send_signal(process, signal.SIGTERM)
    deadline = loop.time() + timeout_s
    while is_running(process):
        if loop.time() >= deadline:
            send_signal(process, signal.SIGKILL)
            deadline += timeout_s
        await asyncio.sleep(_POLL_S)


def _started(pid: int, *, or_ended: bool = False) -> int | None:
    """When a process was started; None where there is none, or (unless `or_ended`) only what is left of one that has ended."""
    try:
        # The second field is the program's name in brackets, and may hold blanks and brackets itself.
        fields = Path("/proc", str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" and not or_ended else int(fields[19])
