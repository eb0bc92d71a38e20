"""What an operator asks of a running cluster: health from facts gathered now, repair, audit, ring changes, `where`.

Nothing here is remembered between calls except open connections.  A fact that cannot be had is given as null and makes
the cluster unhealthy; it is never guessed.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from objstore.cli.layout import Layout, NodeEntry, Place, node_address, proxy_port
from objstore.cli.probe import probe_proxy
from objstore.cli.requests import FindCopies, ListHoldings, RotateTokenKeys, ScanHoldings
from objstore.cli.roles_config import daemon_control
from objstore.cli.settings import read_cluster_key
from objstore.cli.supervisor import Supervisor
from objstore.daemons import control
from objstore.daemons.fleet import Fleet
from objstore.errors import InvalidRequest, ObjstoreError, Unavailable
from objstore.runtime.world import World
from objstore.wire.messages import DeviceReport, NodeReport, NodeStatus, SyncState, SyncStateAnswer
from ring import files
from ring.lookup import Ring

REPORT_TIMEOUT_S = 1.0
DAEMON_TIMEOUT_S = 15.0
HOLDINGS_TIMEOUT_S = 120.0  # a page of 10,000 rows, or of a hundred buckets with their uploads
STATUS_TIMEOUT_S = 5.0  # for the daemon to count rows, of which a device that hangs takes a third
ANSWER_MARGIN_S = 1.0
RING_CHANGE_TIMEOUT_S = 120.0
R = TypeVar("R")


@dataclass(frozen=True)
class Facts:
    """What the nodes and proxies themselves say, at one moment."""

    ring: Ring
    reports: Mapping[str, NodeReport | None]  # by node name
    pending: Mapping[int, frozenset[int]]  # device id -> partitions for which it has no vote
    proxies_up: frozenset[str]

    def device(self, device_id: int) -> DeviceReport | None:
        """A device's report, if its node answered and holds that incarnation of it."""
        about = self.ring.devices[device_id]
        report = self.reports.get(about.node)
        for device in report.devices if report is not None else ():
            if device.incarnation == about.incarnation:
                return device
        return None


class Operator:
    """Answers for one ring of a cluster; lives in the supervisor's process.  Layouts that it is given have the nodes of that ring alone."""

    def __init__(
        self, world: World, place: Place, supervisor: Supervisor, *, policy: str = "", daemons: Sequence[str] = ("daemon1",)
    ) -> None:
        self._world = world
        self._place = place
        self._supervisor = supervisor
        self._policy = policy
        self._daemons = daemons  # processes that do this ring's background work
        self._fleet: Fleet | None = None

    async def aclose(self) -> None:
        """Close connections."""
        if self._fleet is not None:
            await self._fleet.aclose()

    # -- facts --------------------------------------------------------------------------------------------------------

    async def facts(self, layout: Layout) -> Facts:
        """Ask every node and every proxy, all at once."""
        fleet = self._current_fleet()
        proxies = [f"proxy{number}" for number in range(1, layout.proxies + 1)]
        addresses = sorted({*fleet.addresses(), *(node_address(entry) for entry in layout.node)})
        answers, proxies_up = await asyncio.gather(
            asyncio.gather(*(self._report(fleet, address) for address in addresses)),
            asyncio.gather(*(probe_proxy(proxy_port(layout, n), tls=layout.tls) for n in range(1, layout.proxies + 1))),
        )
        by_address = dict(zip(addresses, answers, strict=True))
        reports = {entry.name: by_address[node_address(entry)] for entry in layout.node}
        for report in reports.values():
            if report is not None and report.epoch > fleet.ring.epoch:
                with contextlib.suppress(ObjstoreError):
                    await fleet.fetch_ring(node_address(layout.find(report.name)))
        facts = Facts(fleet.ring, reports, {}, frozenset(n for n, up in zip(proxies, proxies_up, strict=True) if up))
        behind = [d for d in fleet.ring.devices if (found := facts.device(d)) is not None and found.pending_partitions]
        pending = await asyncio.gather(*(self._pending(fleet, device) for device in behind))
        return Facts(facts.ring, reports, dict(zip(behind, pending, strict=True)), facts.proxies_up)

    async def _report(self, fleet: Fleet, address: str) -> NodeReport | None:
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                return await fleet.call(address, NodeStatus(), NodeReport, timeout_s=REPORT_TIMEOUT_S)
        except (ObjstoreError, TimeoutError):  # silent, or somebody else's process on that port: no node of ours answers
            return None

    async def _pending(self, fleet: Fleet, device: int) -> frozenset[int]:
        try:
            answer = await fleet.ask(SyncState, SyncStateAnswer, device, epoch=fleet.ring.epoch, timeout_s=REPORT_TIMEOUT_S)
        except ObjstoreError:
            return frozenset(range(fleet.ring.partition_count))
        return frozenset(answer.pending)

    async def is_writable(self, layout: Layout) -> bool:
        """Whether every key can be written now, through some proxy."""
        return writable(await self.facts(layout))

    async def status(self, layout: Layout) -> dict[str, Any]:
        """The `status` object of the control contract."""
        facts, daemons = await asyncio.gather(self.facts(layout), self._daemon_status())
        ring = facts.ring
        devices = [facts.device(device) for device in ring.devices]
        processes = self._supervisor.processes
        in_place = all(
            report is not None and report.epoch == ring.epoch for name, report in facts.reports.items() if not layout.find(name).leaving
        )
        healthy = (
            in_place
            and all(device is not None and device.state == "up" and not device.pending_partitions for device in devices)
            and len(facts.proxies_up) == layout.proxies
            and all(process.pid is not None for process in processes.values())
            and daemons is not None
            and not daemons.changing
            and not ring.moving()
            and daemons.epoch == ring.epoch
            and (daemons.under_replicated, daemons.misplaced, daemons.queued_repairs) == (0, 0, 0)
        )
        return {
            "healthy": healthy,
            "writable": writable(facts),
            "under_replicated": daemons.under_replicated if daemons else None,
            "misplaced": daemons.misplaced if daemons else None,
            "quarantined": sum(d.quarantined for r in facts.reports.values() if r is not None for d in r.devices),
            "queued_repairs": daemons.queued_repairs if daemons else None,
            "epoch": ring.epoch,
            "changing": bool(ring.moving()) or (daemons is not None and daemons.changing),
            "detail": daemons.detail if daemons else "the daemon does not answer: counts of rows are not known",
            "nodes": [self._node_status(entry, facts) for entry in layout.node],
            "proxies": [
                {"name": f"proxy{n}", "up": f"proxy{n}" in facts.proxies_up, "pid": processes[f"proxy{n}"].pid, "port": proxy_port(layout, n)}
                for n in range(1, layout.proxies + 1)
            ],
            "daemons": [
                {"name": name, "up": processes[name].ready.is_set(), "pid": processes[name].pid} for name in self._daemons
            ],
        }  # fmt: skip

    def _node_status(self, entry: NodeEntry, facts: Facts) -> dict[str, Any]:
        report = facts.reports[entry.name]
        process = self._supervisor.processes.get(entry.name)  # none where the node went while the others were asked
        ids = {device.incarnation: device.id for device in facts.ring.devices.values()}
        if report is not None:
            devices = [
                {
                    "id": ids.get(d.incarnation), "path": d.path, "state": d.state, "used": d.used_bytes, "free": d.free_bytes, "rows": d.rows,
                    "pending_partitions": d.pending_partitions, "quarantined": d.quarantined, "detail": d.detail,
                }
                for d in report.devices
            ]  # fmt: skip
        else:
            # By its name below the node: the ring may still hold the path from before the cluster's directory was moved.
            known = {Path(device.path).name: device.id for device in facts.ring.members() if device.node == entry.name}
            devices = [
                {"id": known.get(path.name), "path": str(path), "state": "unreachable", "used": None, "free": None}
                for path in self._place.device_directories(entry)
            ]
        return {
            "name": entry.name, "up": report is not None, "pid": process.pid if process is not None else None, "port": entry.port,
            "zone": entry.zone, "epoch": report.epoch if report else None, "leaving": entry.leaving, "devices": devices,
        }  # fmt: skip

    # -- work ---------------------------------------------------------------------------------------------------------

    async def repair(self, *, timeout_s: float) -> dict[str, Any]:
        """Replication to the end; the counts carry an `error` when it did not get there."""
        return self._finished(await self._ask(control.Repair(timeout_s=timeout_s), control.WorkResult, timeout_s=timeout_s + 30), "repair")

    async def audit(self, *, timeout_s: float) -> dict[str, Any]:
        """A full scrub; the counts carry an `error` when it could not be done everywhere."""
        return self._finished(await self._ask(control.Audit(timeout_s=timeout_s), control.WorkResult, timeout_s=timeout_s + 30), "audit")

    def _finished(self, result: control.WorkResult, what: str) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.to_builtins(result)
        if not result.finished:
            answer["error"] = f"{what} did not finish: {result.detail or 'out of time'}"
        return answer

    def check_at_rest(self) -> None:
        """Raise InvalidRequest while a ring change is being carried out: there is one at a time."""
        moving = len(self.ring().moving())
        if moving:
            raise InvalidRequest(
                f"an earlier change of the ring is still being carried out: {moving} partitions are moving; "
                "try again when `objstore ctl status` says changing: false"
            )

    async def add_devices(self, devices: Iterable[control.NewDevice]) -> dict[str, Any]:
        """Publish a ring with these devices."""
        request = control.AddDevices(devices=list(devices))
        return msgspec.to_builtins(await self._ask(request, control.RingResult, timeout_s=RING_CHANGE_TIMEOUT_S))  # type: ignore[no-any-return] # a struct becomes a dict

    async def change(self, request: control.ControlRequest) -> dict[str, Any]:
        """Publish a drained, smaller or mended ring.  Raises InvalidRequest while another change is under way."""
        self.check_at_rest()
        return msgspec.to_builtins(await self._ask(request, control.RingResult, timeout_s=RING_CHANGE_TIMEOUT_S))  # type: ignore[no-any-return] # as above

    async def where(self, bucket: str, key: str, tenants: list[str]) -> dict[str, Any]:
        """Where the copies of an object are."""
        return await self._ask(FindCopies(bucket=bucket, key=key, tenants=tenants), dict[str, Any], timeout_s=DAEMON_TIMEOUT_S)

    async def holdings(self, request: ListHoldings | ScanHoldings) -> dict[str, Any]:
        """A page of what buckets hold."""
        return await self._ask(request, dict[str, Any], timeout_s=HOLDINGS_TIMEOUT_S)

    async def rotate_token_keys(self, request: RotateTokenKeys) -> dict[str, Any]:
        """Seal tokens of the identity service with the next key."""
        return await self._ask(request, dict[str, Any], timeout_s=DAEMON_TIMEOUT_S)

    def ring(self) -> Ring:
        """The ring in use, as far as this process knows."""
        return self._current_fleet().ring

    async def _daemon_status(self) -> control.StatusResult | None:
        asked = control.Status(timeout_s=STATUS_TIMEOUT_S)
        try:
            return await self._ask(asked, control.StatusResult, timeout_s=STATUS_TIMEOUT_S + ANSWER_MARGIN_S)
        except ObjstoreError:
            return None

    async def _ask(self, request: control.ControlRequest, kind: type[R], *, timeout_s: float) -> R:
        for name in self._daemons:
            if self._supervisor.find(name).pid is not None:
                return await control.ask(self._world, daemon_control(name), request, kind, timeout_s=timeout_s)
        raise Unavailable(f"no daemon process runs; start it with: objstore ctl start {self._daemons[0]}")

    def _current_fleet(self) -> Fleet:
        ring = files.load(self._place.ring_of(self._policy))
        if self._fleet is None:
            key = read_cluster_key(str(self._place.cluster_key_file))
            self._fleet = Fleet(self._world, ring=ring, cluster_key=key, name="supervisor")
        self._fleet.adopt(ring)
        return self._fleet


def writable(facts: Facts) -> bool:
    """Whether a proxy is up and every partition has a majority of primaries that answer and vote.

    During a handover a write needs a majority of the old primaries and one of the new ones.
    """

    def serves(device_id: int) -> bool:
        device = facts.device(device_id)
        return device is not None and device.state in ("up", "refilling")

    def has_majority(partition: int, primaries: tuple[int, ...], *, voting: bool) -> bool:
        able = sum(1 for d in primaries if serving[d] and not (voting and partition in facts.pending.get(d, ())))
        return able > len(primaries) // 2

    if not facts.proxies_up:
        return False
    ring = facts.ring
    serving = {device: serves(device) for device in ring.devices}
    for partition in range(ring.partition_count):
        old = ring.previous(partition)
        if old is not None and not has_majority(partition, old, voting=True):
            return False
        if not has_majority(partition, ring.primaries(partition), voting=old is None):
            return False
    return True
