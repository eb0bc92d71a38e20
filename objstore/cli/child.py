"""The child's side of supervision: say that we are ready, end when the supervisor has ended, end on a signal.

All of it does nothing when no supervisor started this process, so that a role runs as well under systemd.
"""

import asyncio
import ctypes
import json
import os
import signal
from typing import Any

from objstore.cli.process import LIFELINE_FD, READY_FD, SUPERVISOR_PID

_PR_SET_PDEATHSIG = 1


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
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)
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

    async def asked_to_stop(self) -> None:
        """Returns when the process shall end in good order."""
        await self._asked.wait()


def _end_at_once() -> None:
    # Nobody is left who could want an orderly end, and a crash is always survivable here.
    os.kill(os.getpid(), signal.SIGKILL)
