"""The supervisor's desk: takes the command line's requests, one change of the cluster at a time.

What a request needs of processes `supervisor.py` does, what it needs of the running cluster `operator.py` asks.
"""

import asyncio
import logging
import os
import shutil
import signal
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from objstore.cli import requests
from objstore.cli.create import create_cluster, first_ring, make_node, read_admin, write_identities
from objstore.cli.layout import (
    Layout,
    Place,
    agent_port,
    check_classes,
    daemon_metrics_port,
    leaving,
    metrics_port,
    new_layout,
    node_address,
    proxy_port,
    read_cluster,
    services_metrics_port,
    services_port,
    taken_back,
    with_agents,
    with_node,
    with_policy,
    without,
    write_cluster,
    zone_name,
)
from objstore.cli.supervisor import RunOptions, Supervisor
from objstore.daemons import control
from objstore.errors import DeadlineExceeded, ObjstoreError, Unavailable
from objstore.runtime.config import ConfigError
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

if TYPE_CHECKING:
    from objstore.cli.operator import Operator
    from objstore.cli.rings import Rings

log = logging.getLogger(__name__)

STOP_S = 9.0  # one process, before it is killed
TIDY_S = 0.5  # between looks at nodes that leave
WRITABLE_POLL_S = 0.01
SERVICES = {"identity": "/identity/v3", "image": "/image", "volume": "/volume/v3", "network": "/network", "compute": "/compute/v2.1"}


class Ending(Unavailable):
    """This supervisor takes no more orders; the next one will."""


class Desk:
    """Takes the command line's requests, one change at a time."""

    def __init__(self, world: World, place: Place) -> None:
        self._world = world
        self._place = place
        self._options = RunOptions()
        self._supervisor = Supervisor(world, place, self._options)
        self._hired: Rings | None = None
        self._owner = TaskOwner("desk")
        self._changing = asyncio.Lock()
        self._layout: Layout | None = None
        self._ready_s = 0.0
        self.over = asyncio.Event()

    def handlers(self) -> control.Handlers:
        """The control socket's table."""
        return {
            requests.Up: self._up,
            requests.Down: self._down,
            requests.Summary: self._summarize,
            requests.StartProcess: self._start,
            requests.StopProcess: self._stop,
            requests.GetStatus: lambda _: self._rings.status(self._known()),
            requests.GetPids: self._pids,
            requests.RunRepair: lambda request: self._rings.repair(self._known(), timeout_s=request.timeout_s),
            requests.RunAudit: lambda request: self._rings.audit(self._known(), timeout_s=request.timeout_s),
            requests.AddNode: self._add_node,
            requests.AddPolicy: self._add_policy,
            requests.Drain: self._drain,
            requests.Remove: self._remove,
            requests.Where: self._where,
            requests.ListHoldings: self._holdings,
            requests.ScanHoldings: self._holdings,
            requests.RotateTokenKeys: self._rotate_token_keys,
        }

    async def aclose(self) -> None:
        """Stop everything that still runs."""
        self.over.set()
        await self._owner.aclose()
        await self._supervisor.stop_all()
        if self._hired is not None:
            await self._hired.aclose()
        await self._supervisor.aclose()

    # -- up and down --------------------------------------------------------------------------------------------------

    async def _up(self, request: requests.Up) -> dict[str, Any]:
        async with self._changing:
            if self.over.is_set():
                raise Ending("the supervisor is ending; try again in a moment")
            began = self._world.clock.monotonic()
            if request.exec_prefix is not None:
                self._options.set_prefixes(request.exec_prefix)
            if request.environment is not None:
                self._options.set_environments(request.environment)
            layout = self._layout = await self._laid_out(request)
            fresh = not self._supervisor.processes
            self._supervisor.adopt(layout)
            try:
                await self._supervisor.wait_for_ports(layout)
                await self._supervisor.start_all()
                await self._wait_writable(layout, deadline=began + request.timeout_s)
            except (ConfigError, ObjstoreError, OSError):
                if fresh:
                    await self._supervisor.stop_all()
                    self.over.set()
                raise
            if not len(self._owner):
                self._owner.spawn(self._tidy(), name="tidy")
            self._ready_s = self._world.clock.monotonic() - began
            return self._summary(layout)

    async def _laid_out(self, request: requests.Up) -> Layout:
        place, new = self._place, request.new
        identities = Path(request.identities) if request.identities else None
        if not place.exists():
            _check(None, request.overrides)
            layout = new_layout(
                nodes=new.nodes, devices=new.devices, zones=new.zones, proxies=new.proxies, port_base=new.port_base, tls=new.tls,
                uid_base=new.uid_base, policies=new.policies, agents=request.agents or 0,
            )  # fmt: skip
            sections = _with_overrides({}, request.overrides)
            check_classes(layout, sections)
            await create_cluster(self._world, place, layout, sections=sections, identities=identities)
            return layout
        layout, sections = read_cluster(place)
        _check(place.cluster_file if sections else None, request.overrides)
        sections = _with_overrides(sections, request.overrides)
        check_classes(layout, sections)
        laid = layout if request.agents is None else with_agents(layout, request.agents)
        if request.overrides or laid is not layout:
            layout = laid
            write_cluster(place, layout, sections)
        if identities is not None:
            before = place.identities_file.read_bytes()
            write_identities(place, read_admin(place), identities)
            if place.identities_file.read_bytes() != before:
                await self._supervisor.restart_in_turn(("proxy", "services"), timeout_s=request.timeout_s)
        return layout

    async def _wait_writable(self, layout: Layout, *, deadline: float) -> None:
        """Return when every process is ready, or dies again and again while the others are enough to write."""
        clock = self._world.clock
        names = list(self._supervisor.processes)
        while True:
            hopeless = await self._supervisor.wait_ready(names, timeout_s=max(0.0, deadline - clock.monotonic()))
            # A policy's ring that cannot be written keeps nobody from using the others.
            if await (self._rings.of(layout).is_writable(layout.of_policy("")) if hopeless else self._rings.is_writable(layout)):
                if hopeless:
                    log.warning("up without %s", ", ".join(hopeless))
                return
            if clock.monotonic() > deadline:
                raise ConfigError("all processes run but writes are not possible; see: objstore ctl status")
            if hopeless:
                raise ConfigError(f"{', '.join(hopeless)} died again and again at the start{self._supervisor.last_words(hopeless[0])}")
            await clock.sleep(WRITABLE_POLL_S)

    def _summary(self, layout: Layout) -> dict[str, Any]:
        place, pids = self._place, self._supervisor.pids()
        admin = read_admin(place)
        scheme = "https" if layout.tls else "http"
        services = f"{scheme}://127.0.0.1:{services_port(layout, 1)}"
        proxies = [{"name": f"proxy{n}", "pid": pids.get(f"proxy{n}"), "port": proxy_port(layout, n)} for n in range(1, layout.proxies + 1)]
        metrics = [metrics_port(layout, n) for n in range(1, layout.proxies + 1)]
        metrics += [daemon_metrics_port(layout, n) for n in layout.daemon_numbers()]
        metrics += [services_metrics_port(layout, n) for n in range(1, layout.services + 1)]
        policies = [
            {
                "name": policy.name,
                "replicas": policy.replicas,
                "daemon": policy.daemon_name,
                "nodes": self._nodes(layout.of_policy(policy.name)),
            }
            for policy in layout.policy
        ]
        return {
            "s3": [f"{scheme}://127.0.0.1:{proxy['port']}" for proxy in proxies],
            "swift_auth": f"{scheme}://127.0.0.1:{proxies[0]['port']}/auth/v1.0" if proxies else None,
            **{name: f"{services}{path}" if layout.services else None for name, path in SERVICES.items()},
            "network": f"{scheme}://127.0.0.1:{services_port(layout, 1)}/network" if layout.services else None,
            "console": None,
            "metrics": [f"http://{_metrics_host(place)}:{port}/metrics" for port in metrics],
            "admin": {"user": admin.user, "project": admin.project, "password": admin.password},
            "region": _region(place),
            "access_key": admin.access_key,
            "secret_key": admin.secret_key,
            "ca_cert": str(place.tls / "ca.pem") if layout.tls else None,
            "supervisor_pid": os.getpid(),
            "nodes": self._nodes(layout.of_policy("")),
            **({"policies": policies} if policies else {}),
            **({"agents": self._agents(layout)} if layout.agents else {}),
            "proxies": proxies,
            "daemons": [{"name": p.name, "pid": pids.get(p.name)} for p in self._supervisor.of_role("daemon")],
            "services": [
                {"name": p.name, "up": p.ready.is_set(), "pid": pids.get(p.name), "port": services_port(layout, number)}
                for number, p in enumerate(self._supervisor.of_role("services"), 1)
            ],
            "ready_s": round(self._ready_s, 3),
        }

    def _agents(self, layout: Layout) -> list[dict[str, Any]]:
        pids = self._supervisor.pids()
        return [
            {"name": f"agent{n}", "pid": pids.get(f"agent{n}"), "port": agent_port(layout, n), "disks": pids.get(f"disks{n}")}
            for n in range(1, layout.agents + 1)
        ]

    def _nodes(self, layout: Layout) -> list[dict[str, Any]]:
        pids = self._supervisor.pids()
        return [
            {"name": e.name, "pid": pids.get(e.name), "port": e.port, "devices": [str(d) for d in self._place.device_directories(e)]}
            for e in layout.node
        ]

    async def _summarize(self, _: requests.Summary) -> dict[str, Any]:
        return self._summary(self._known())

    async def _down(self, _: requests.Down) -> dict[str, Any]:
        names = list(self._supervisor.pids())
        async with self._changing:
            await self._supervisor.stop_all()
            self.over.set()
        return {"stopped": names}

    # -- one process --------------------------------------------------------------------------------------------------

    async def _start(self, request: requests.StartProcess) -> dict[str, Any]:
        process = self._supervisor.find(request.name)
        process.start()
        if await self._supervisor.wait_ready([request.name], timeout_s=request.timeout_s):
            raise ConfigError(f"{request.name} died again and again at the start{self._supervisor.last_words(request.name)}")
        return {"name": request.name, "pid": process.pid}

    async def _stop(self, request: requests.StopProcess) -> dict[str, Any]:
        process = self._supervisor.find(request.name)
        number = _signal(request.signal)
        if number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            process.signal(number)  # it goes on running, so it stays wanted
            return {"name": request.name, "signal": number.name, "pid": process.pid}
        await process.stop(number, timeout_s=STOP_S)
        return {"name": request.name, "signal": number.name, "exit": process.last_exit}

    async def _pids(self, request: requests.GetPids) -> dict[str, int]:
        pids = self._supervisor.pids()
        if not request.name:
            return pids
        process = self._supervisor.find(request.name)
        if process.pid is None:
            raise ConfigError(f"{request.name} does not run")
        return {request.name: process.pid}

    # -- the ring -----------------------------------------------------------------------------------------------------

    async def _add_node(self, request: requests.AddNode) -> dict[str, Any]:
        async with self._changing:
            layout, sections = self._known(), read_cluster(self._place)[1]
            layout = with_node(layout, devices=request.devices, zone=request.zone, policy=request.policy)
            operator = self._rings.of(layout, request.policy)
            operator.check_at_rest()
            entry = layout.node[-1]
            incarnations = await make_node(self._world, self._place, layout, entry)
            write_cluster(self._place, layout, sections)
            self._layout = layout
            self._supervisor.adopt(layout)
        try:
            await self._run([entry.name])
            answer = await operator.add_devices(
                control.NewDevice(
                    node=entry.name, address=node_address(entry), zone=zone_name(entry.zone), path=str(directory),
                    incarnation=incarnation.hex(), weight=request.weight,
                )
                for directory, incarnation in zip(self._place.device_directories(entry), incarnations, strict=True)
            )  # fmt: skip
        except DeadlineExceeded as late:
            # The daemon may still publish it, so the node must stay.
            hint = (
                f"{entry.name} runs; objstore ctl status shows whether it has a part in the ring, objstore ctl remove {entry.name} ends it"
            )
            raise DeadlineExceeded(f"{late}: {hint}") from late
        except (ConfigError, ObjstoreError, OSError):
            if all(device.node != entry.name for device in operator.ring().devices.values()):
                await self._take_back(entry.name)
            raise
        return {"name": entry.name, "pid": self._supervisor.find(entry.name).pid, "port": entry.port, "zone": entry.zone, **answer}

    async def _take_back(self, name: str) -> None:
        """Undo a node that no ring took."""
        async with self._changing:
            await self._supervisor.find(name).stop(signal.SIGTERM, timeout_s=STOP_S)
            self._layout = taken_back(self._known(), name)
            write_cluster(self._place, self._layout, read_cluster(self._place)[1])
            self._supervisor.adopt(self._layout)
            shutil.rmtree(self._place.directory(name), ignore_errors=True)

    async def _add_policy(self, request: requests.AddPolicy) -> dict[str, Any]:
        async with self._changing:
            place, sections = self._place, read_cluster(self._place)[1]
            layout = with_policy(self._known(), request.policy, devices=request.devices)
            policy = layout.policy[-1]
            entries = layout.of_policy(policy.name).node
            made = {entry.name: await make_node(self._world, place, layout, entry) for entry in entries}
            first_ring(self._world, place, layout, made, policy.name)
            write_cluster(place, layout, sections)
            self._layout = layout
            self._supervisor.adopt(layout)
            await self._run([*made, policy.daemon_name])
            # What runs knows the rings that were there at its start: one after the other, so that clients are served meanwhile.
            mine = {f"daemon{number}" for number in range(1, layout.daemons + 1)}
            running = [process for process in self._supervisor.processes.values() if process.pid is not None]
            again = [process for process in running if process.role in ("proxy", "services", "disks") or process.name in mine]
            for process in again:
                await process.stop(signal.SIGTERM, timeout_s=STOP_S)
                await self._run([process.name])
        return {
            "name": policy.name, "replicas": policy.replicas, "daemon": policy.daemon_name, "nodes": self._nodes(layout.of_policy(policy.name)),
            "restarted": [process.name for process in again],
        }  # fmt: skip

    async def _run(self, names: Sequence[str]) -> None:
        """Start processes and wait until they are ready.  Raises ConfigError."""
        for name in names:
            self._supervisor.find(name).start()
        hopeless = await self._supervisor.wait_ready(names, timeout_s=60.0)
        if hopeless:
            raise ConfigError(f"{hopeless[0]} died again and again at the start{self._supervisor.last_words(hopeless[0])}")

    async def _drain(self, request: requests.Drain) -> dict[str, Any]:
        return {"name": request.name, **await self._operator_of(request.name).change(control.DrainNode(node=request.name))}

    async def _remove(self, request: requests.Remove) -> dict[str, Any]:
        # Marked first: a crash in between leaves a node that is still needed and can be removed again, not one that is forgotten.
        await self._mark(request.name, leaves=True)
        operator = self._operator_of(request.name)
        ring = operator.ring()
        if all(device.node != request.name for device in ring.devices.values()):
            return {"name": request.name, "epoch": ring.epoch, "devices": [], "moves": 0}
        try:
            answer = await operator.change(control.RemoveNode(node=request.name))
        except (ObjstoreError, OSError):
            await self._mark(request.name, leaves=False)
            raise
        return {"name": request.name, **answer}

    async def _mark(self, name: str, *, leaves: bool) -> None:
        async with self._changing:
            self._layout = leaving(self._known(), name, leaves=leaves)
            write_cluster(self._place, self._layout, read_cluster(self._place)[1])

    async def _where(self, request: requests.Where) -> dict[str, Any]:
        bucket, slash, key = request.target.partition("/")
        if not slash or not bucket or not key:
            raise ConfigError(f"{request.target!r} is not of the form BUCKET/KEY")
        return await self._rings.of(self._known()).where(bucket, key, _tenants(self._place))

    async def _holdings(self, request: requests.ListHoldings | requests.ScanHoldings) -> dict[str, Any]:
        return await self._rings.of(self._known()).holdings(request)

    async def _rotate_token_keys(self, request: requests.RotateTokenKeys) -> dict[str, Any]:
        return await self._rings.of(self._known()).rotate_token_keys(request)

    async def _tidy(self) -> None:
        """End nodes that the ring has done without."""
        while True:
            await self._world.clock.sleep(TIDY_S)
            try:
                async with self._changing:
                    await self._end_removed()
            except (ObjstoreError, OSError, ValueError) as failure:
                log.info("tidying up will be tried again: %s", failure)

    async def _end_removed(self) -> None:
        layout = self._known()
        candidates = [entry.name for entry in layout.node if entry.leaving]
        if not candidates:
            return
        gone = [name for name in candidates if all(device.node != name for device in self._operator_of(name).ring().devices.values())]
        for name in gone:
            await self._supervisor.find(name).stop(signal.SIGTERM, timeout_s=STOP_S)
        if gone:
            self._layout = without(layout, gone)
            write_cluster(self._place, self._layout, read_cluster(self._place)[1])
            self._supervisor.adopt(self._layout)

    @property
    def _rings(self) -> "Rings":
        """Loaded when it is first needed: by then the processes are starting, which need not wait for it."""
        if self._hired is None:
            from objstore.cli.rings import Rings

            self._hired = Rings(self._world, self._place, self._supervisor)
        return self._hired

    def _operator_of(self, node: str) -> "Operator":
        """Of the ring that a node is in.  Raises ConfigError."""
        layout = self._known()
        return self._rings.of(layout, layout.find(node).policy)

    def _known(self) -> Layout:
        if self._layout is None:
            raise ConfigError("the cluster is not up; start it with: objstore ctl up")
        return self._layout


def _check(cluster_file: Path | None, overrides: Sequence[str]) -> None:
    # The full schema imports every component; most clusters set nothing, and then start sooner.
    if overrides or cluster_file is not None:
        from objstore.cli.settings import check_cluster

        check_cluster(cluster_file, overrides)


def _with_overrides(sections: dict[str, dict[str, Any]], overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    merged = {name: dict(table) for name, table in sections.items()}
    if overrides:
        from objstore.cli.settings import typed_overrides

        for section, key, value in typed_overrides(overrides):
            merged.setdefault(section, {})[key] = value
    return merged


def _region(place: Place) -> str:
    """As the proxies have it: the environment of this supervisor, which they inherit, stands above the file."""
    from objstore.cli.settings import SHARED_SECTIONS, load_settings

    return str(load_settings(("s3",), files=[place.cluster_file], foreign=(*SHARED_SECTIONS, "layout")).settings.s3.region)


def _metrics_host(place: Place) -> str:
    """As it stands in an address that can be reached from here."""
    host = str(read_cluster(place)[1].get("metrics", {}).get("host", "127.0.0.1"))
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _tenants(place: Place) -> list[str]:
    users = tomllib.loads(place.identities_file.read_text()).get("user", [])
    return list(dict.fromkeys(["default", *(str(user.get("tenant", "default")) for user in users)]))


def _signal(name: str) -> signal.Signals:
    try:
        return signal.Signals(int(name)) if name.isdigit() else signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except (KeyError, ValueError) as unknown:
        raise ConfigError(f"there is no signal {name!r}; try TERM or KILL") from unknown
