"""Calls on availability zones: which there are follows from hosts and aggregates."""

from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.compute.host_services import COMPUTE, INTERNAL, OURS
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import time_of


class ZoneCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("GET", "/v2.1/os-availability-zone"): self.list_zones, ("GET", "/v2.1/os-availability-zone/detail"): self.list_detail}

    async def list_zones(self, call: Call) -> Answer:
        """Names, and whether one may choose them: a zone all of whose hosts are disabled is none."""
        zones = await self._zones()
        shown = [
            {"zoneName": name, "zoneState": {"available": any(not host["disabled"] for host in hosts.values())}, "hosts": None}
            for name, hosts in sorted(zones.items())
        ]
        return Answer(body={"availabilityZoneInfo": shown})

    async def list_detail(self, call: Call) -> Answer:
        """The same with their hosts, for administrators."""
        call.check_admin()
        now = time_of(self._service.now_us())
        ours = {binary: {"available": True, "active": True, "updated_at": now} for binary in OURS}
        shown: list[dict[str, Any]] = [{"zoneName": INTERNAL, "zoneState": {"available": True}, "hosts": {self._service.process: ours}}]
        for name, hosts in sorted((await self._zones()).items()):
            told = {
                host: {COMPUTE: {"available": about["alive"], "active": not about["disabled"], "updated_at": time_of(about["reported_us"])}}
                for host, about in hosts.items()
            }
            shown.append(
                {"zoneName": name, "zoneState": {"available": any(not about["disabled"] for about in hosts.values())}, "hosts": told}
            )
        return Answer(body={"availabilityZoneInfo": shown})

    async def _zones(self) -> dict[str, dict[str, dict[str, Any]]]:
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for host in await self._service.hosts.all():
            about = {"disabled": host.disabled, "alive": self._service.hosts.alive(host), "reported_us": host.reported_us}
            found.setdefault(host.zone, {})[host.name] = about
        return found
