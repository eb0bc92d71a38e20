"""The child's side of supervision: say that we are ready, end when the supervisor has ended, end on a signal.

All of it does nothing when no supervisor started this process, so that a role runs as well under systemd.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from typing import Any

from objstore.cli.process import LIFELINE_FD, READY_FD, RUN_AS, SUPERVISOR_PID
from objstore.runtime.config import ConfigError

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_CAPABILITY_VERSION = 0x20080522  # version 3: two words for each set
_CAP_DAC_OVERRIDE = 1 << 1
_CAP_DAC_READ_SEARCH = 1 << 2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
# Bodies pass in buffers of up to a megabyte: each taken from the heap, and what is freed at its end kept up to so much until
# `give_back_memory`.  Pages that go back to the kernel with every buffer come again one fault and one clearing each.
MAPPED_FROM_BYTES = 4 * 1024 * 1024
KEPT_FREE_BYTES = 8 * 1024 * 1024
SCHEDULING = {"batch": os.SCHED_BATCH, "normal": os.SCHED_OTHER}


def settle_scheduling(scheduling: str) -> None:
    """Take the kernel's policy for this process and the threads that it starts later.  Raises ConfigError.

    Under "batch" a process that is woken does not take the processor from the one that woke it.  So who has sent one message goes on, and sends
    the next ones before the first is looked at: messages are handled in groups, with one flush, one wake-up and one answer for several.  A
    request costs a sixth less.  Programs of the policy "normal" that never rest are not interrupted for it either, hence the choice.
    """
    if scheduling not in SCHEDULING:
        raise ConfigError(f"host.scheduling = {scheduling!r}: it must be one of {', '.join(SCHEDULING)}")
    with contextlib.suppress(PermissionError):  # inside of some sandboxes; it is about cost only
        os.sched_setscheduler(0, SCHEDULING[scheduling], os.sched_param(0))


def run_as_told() -> None:
    """Become the user that the supervisor named, if any; call before anything is opened and any thread is started.

    The right to pass over file permissions is kept: the interpreter, the program and the cluster's directory may well lie where
    only root can go.  The user is there for packet filters and accounting to tell the nodes apart, not to fence them in.
    Raises OSError where this process may not do so.
    """
    user = int(os.environ.pop(RUN_AS, "-1"))
    if user < 0 or user == os.getuid():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities above 31
    _checked(libc.capget(header, sets))
    kept = sets[1] & (_CAP_DAC_OVERRIDE | _CAP_DAC_READ_SEARCH)
    _checked(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    _checked(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))
    _checked(libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))  # changing the user hides a process from tools of that user


def settle_allocator() -> None:
    """Have the C library keep one heap, and in it what a burst of bodies needs; call before any thread is started.

    By default each thread that ever hashed or read a body keeps a heap of its own with buffers in it: half a gigabyte over
    all processes of a small cluster.  Does nothing where it is not glibc.
    """
    with contextlib.suppress(AttributeError):
        for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)):
            ctypes.CDLL(None).mallopt(option, value)


def give_back_memory() -> None:
    """Hand pages that are free in the middle of the heap back to the kernel; some milliseconds after a burst of large bodies.

    A long-lived row that lands behind a freed buffer keeps the C library from ever shrinking the heap by itself.  Does nothing
    where it is not glibc.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot change the user: {os.strerror(code)}")


def die_with_supervisor() -> None:
    """Ask the kernel to kill this process when its parent dies; call first thing.

    It only works for a direct child; with a tracer in between the lifeline alone does it.
    """
    supervisor = int(os.environ.get(SUPERVISOR_PID, "0"))
    if supervisor and os.getppid() == supervisor:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)


class Supervised:
    """Inside the running event loop: watches the lifeline and the signals that ask for an end."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.for_good = False  # the whole cluster ends: what would outlive this process (an agent's guests) is to end before it
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)
        loop.add_signal_handler(signal.SIGQUIT, self._end_for_good)
        lifeline = int(os.environ.pop(LIFELINE_FD, "-1"))
        if lifeline >= 0:
            loop.add_reader(lifeline, _end_at_once)

    def ready(self, **facts: Any) -> None:
        """Tell the supervisor, once, that this process serves now."""
        fd = int(os.environ.pop(READY_FD, "-1"))
        if fd >= 0:
            os.write(fd, json.dumps({"pid": os.getpid(), **facts}).encode() + b"\n")
            os.close(fd)

    def ask_to_stop(self) -> None:
        """As if a signal had come."""
        self._asked.set()

    def _end_for_good(self) -> None:
        self.for_good = True
        self._asked.set()

    async def asked_to_stop(self) -> None:
        """Returns when the process shall end in good order."""
        await self._asked.wait()


def _end_at_once() -> None:
    # Nobody is left who could want an orderly end, and a crash is always survivable here.
    os.kill(os.getpid(), signal.SIGKILL)
