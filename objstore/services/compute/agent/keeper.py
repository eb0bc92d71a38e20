"""What is looked after without being asked: logs that grow, since a guest can make them."""

from pathlib import Path

from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.console import cap, cap_log
from objstore.services.compute.agent.layout import NETWORKS, QEMU_LOG

EVERY_S = 5.0


class Keeper:
    """Goes round all guests."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def run(self) -> None:
        """For ever."""
        host = self._agent.host
        while True:
            await host.world.clock.sleep(EVERY_S)
            for guest in list(self._agent.guests.values()):
                await host.threads.run(_cap_guests, guest.directory, host.settings.console_bytes)
            await host.threads.run(_cap_networks, host.directory, host.settings.console_bytes)


def _cap_guests(directory: str, most_bytes: int) -> None:
    cap(directory, most_bytes)
    log = Path(directory, QEMU_LOG)
    cap_log(log, log.with_suffix(".log.1"), most_bytes)


def _cap_networks(directory: str, most_bytes: int) -> None:
    """What dnsmasq and radvd say, a line for each of a guest's requests."""
    for log in Path(directory, NETWORKS).glob("*.log"):
        cap_log(log, log.with_suffix(".log.1"), most_bytes)
