"""What is looked after without being asked: logs that grow, since a guest can make them, and files that could not be removed."""

import logging
from collections.abc import Callable
from pathlib import Path

from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.console import cap, cap_log
from objstore.services.compute.agent.layout import NETWORKS, QEMU_LOG

log = logging.getLogger(__name__)

EVERY_S = 5.0


class Keeper:
    """Goes round all guests."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._told: dict[str, str] = {}  # directory -> what went wrong there the last time

    async def run(self) -> None:
        """For ever, whatever goes wrong: a disk that is full now is the reason to cut logs, not to give it up."""
        host = self._agent.host
        while True:
            await host.world.clock.sleep(EVERY_S)
            told, self._told = self._told, {}
            for guest in list(self._agent.guests.values()):
                await self._cap(_cap_guests, guest.directory, told)
            await self._cap(_cap_networks, host.directory, told)
            await self._agent.give_up_lost()
            await self._agent.leftovers.again()

    async def _cap(self, cap_logs: Callable[[str, int], None], directory: str, told: dict[str, str]) -> None:
        host = self._agent.host
        try:
            await host.threads.run(cap_logs, directory, host.settings.console_bytes)
        except OSError as failure:
            self._told[directory] = str(failure)
            if told.get(directory) != str(failure):
                log.warning("logs in %s cannot be kept small: %s", directory, failure)


def _cap_guests(directory: str, most_bytes: int) -> None:
    cap(directory, most_bytes)
    said = Path(directory, QEMU_LOG)
    cap_log(said, said.with_suffix(".log.1"), most_bytes)


def _cap_networks(directory: str, most_bytes: int) -> None:
    """What dnsmasq and radvd say, a line for each of a guest's requests."""
    for said in Path(directory, NETWORKS).glob("*.log"):
        cap_log(said, said.with_suffix(".log.1"), most_bytes)
