"""What an agent tells the services, and what it learns by that: of networks that changed, and of guests that nobody knows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec

from objstore.errors import ObjstoreError, Unavailable
from objstore.runtime.clock import Clock
from objstore.runtime.http_client import Http
from objstore.runtime.tasks import TaskOwner
from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent_api import Report, Reported
from objstore.services.network.driver.api import Carried, NetworkDriver
from objstore.services.network.wanted import WantedHost

log = logging.getLogger(__name__)

PREFIX = "/compute/agents/v1"
CALL_S = 20.0
SOON_S = 0.05  # changes that come together are told together


@dataclass(frozen=True)
class Services:
    """Where the services answer, and what they want to see."""

    url: str
    secret: str
    ca_file: str = ""


class Networks:
    """The networks of this host: fetched where they changed, carried out by the driver."""

    def __init__(self, services: Services | None, driver: NetworkDriver, host: str) -> None:
        self.revision = -1
        self.up: tuple[str, ...] = ()
        self._services = services
        self._driver = driver
        self._host = host
        self._turn = asyncio.Lock()
        self._failures: Mapping[str, str] = {}

    @property
    def incomplete(self) -> bool:
        """Whether something is not as it should be, and is to be tried again."""
        return bool(self._failures)

    async def fetch(self) -> None:
        """Carry out what is wanted now.  Raises Unavailable."""
        if self._services is None:
            return
        async with self._turn:
            wanted = msgspec.json.decode(await _call(self._services, "GET", f"/network?host={self._host}"), type=WantedHost)
            carried: Carried = await self._driver.carry_out(wanted)
            if carried.failures != self._failures:
                for what, why in carried.failures.items():
                    log.error("%s is not as it should be: %s", what, why)
            self._failures = carried.failures
            self.revision = carried.revision
            self.up = tuple(carried.up)


class Reporter:
    """Reports for ever."""

    def __init__(
        self, services: Services, clock: Clock, agent: Agent, networks: Networks, report: Callable[[], Report], changed: asyncio.Event, *, interval_s: float
    ) -> None:  # fmt: skip
        self._services = services
        self._clock = clock
        self._agent = agent
        self._networks = networks
        self._report = report
        self._changed = changed
        self._interval_s = interval_s
        self._heard = True

    async def run(self) -> None:
        """At once, at each change and every few seconds, whatever else takes its time: a host that falls silent is taken for dead."""
        # A guest that does not end keeps no network from being carried out.
        networks = TaskOwner("networks that follow from reports", limit=1)
        ends = TaskOwner("ends that follow from reports", limit=1)
        try:
            while True:
                self._changed.clear()
                await self._tell_and_go_on(networks, ends)
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._changed.wait()
                        await self._clock.sleep(SOON_S)
                except TimeoutError:
                    pass
        finally:
            await networks.aclose()
            await ends.aclose()

    async def _tell_and_go_on(self, networks: TaskOwner, ends: TaskOwner) -> None:
        try:
            answer = await self._tell()
        except (ObjstoreError, msgspec.DecodeError) as failure:
            if self._heard:
                log.warning("the services do not take this host's report: %s", failure)
            self._heard = False
        except Exception:
            log.exception("a report failed by a bug")
        else:
            self._heard = True
            if not len(networks):  # else the next report's answer says it again
                networks.spawn(self._safely(self._have_networks(answer)))
            if not len(ends) and answer.forget:
                ends.spawn(self._safely(self._agent.forget(answer.forget)))

    async def tell(self) -> None:
        """One report, and what follows from its answer.  Raises Unavailable."""
        answer = await self._tell()
        await self._have_networks(answer)
        await self._agent.forget(answer.forget)

    async def _tell(self) -> Reported:
        body = msgspec.json.encode(self._report())
        return msgspec.json.decode(await _call(self._services, "POST", "/report", body), type=Reported)

    async def _safely(self, following: Awaitable[None]) -> None:
        try:
            await following
        except (ObjstoreError, msgspec.DecodeError) as failure:
            log.warning("what follows from a report cannot be done now: %s", failure)
        except Exception:
            log.exception("what follows from a report failed by a bug")

    async def _have_networks(self, answer: Reported) -> None:
        if answer.network_revision > self._networks.revision or self._networks.incomplete:
            before = self._networks.revision, self._networks.up
            await self._networks.fetch()
            if (self._networks.revision, self._networks.up) != before:
                self._changed.set()


async def _call(services: Services, method: str, path: str, body: bytes = b"") -> bytes:
    headers = {"Authorization": f"Bearer {services.secret}", "Content-Type": "application/json"}
    try:
        http = Http(services.url, timeout_s=CALL_S, ca_file=services.ca_file)
        answer = await http.request(method, PREFIX + path, headers=headers, body=body)
    except (OSError, ValueError) as failure:
        raise Unavailable(f"{services.url} does not answer: {failure!r}") from failure
    if answer.status != 200:
        raise Unavailable(f"{services.url} answers {answer.status}: {answer.body[:300].decode(errors='replace')}")
    return answer.body
