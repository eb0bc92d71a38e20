"""What is looked after without being asked: console logs that grow."""

from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.console import cap

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
                await host.threads.run(cap, guest.directory, host.settings.console_bytes)
