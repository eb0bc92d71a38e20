"""What a guest needs of its host: clocks and files, the process that serves its disks, the driver of its networks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from objstore.runtime.disk import Disk
from objstore.runtime.tasks import Threads
from objstore.runtime.world import World
from objstore.services.compute.agent.command import HostFacts
from objstore.services.network.driver.api import NetworkDriver


class Disks(Protocol):
    """The process that serves this host's volumes.  All calls can be repeated."""

    async def attach(self, volume: str, *, force: bool = False) -> None:
        """Attach and export a volume.  Raises Refused (it is not there, or another host's), Unavailable."""

    async def detach(self, volume: str) -> None:
        """Let go of a volume: everything is in the store when this returns.  Raises Unavailable."""

    async def snapshot(self, volume: str, snapshot: str) -> None:
        """A snapshot of all that was written.  Raises Refused, Unavailable."""

    async def resize(self, volume: str, size_bytes: int) -> None:
        """Make a volume longer; who connects anew sees it.  Raises Refused, Unavailable."""

    async def sizes(self) -> dict[str, int]:
        """The volumes that are attached, and their sizes in bytes.  Raises Unavailable."""


@dataclass(frozen=True)
class GuestSettings:
    """How guests are run."""

    unplug_timeout_s: float = 20.0
    move_timeout_s: float = 600.0
    console_bytes: int = 1024 * 1024
    user: int = -1  # that guests run as; -1: the agent's own


@dataclass(frozen=True)
class Host:
    """Shared by all guests of an agent."""

    world: World
    threads: Threads  # for files
    kept: Disk  # the agent's directory
    directory: str  # and its path
    facts: HostFacts
    disks: Disks
    driver: NetworkDriver
    ask_networks: Callable[[], Awaitable[None]]  # have the driver told what is wanted now
    settings: GuestSettings
    boot_id: str
    changed: Callable[[], None]  # something that reports tell has changed
    in_use: Callable[[str, str], bool]  # (volume, server): whether another guest uses it that runs here

    def path(self, server: str) -> str:
        """A guest's directory."""
        return f"{self.directory}/servers/{server}"
