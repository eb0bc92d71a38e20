"""Networks in namespaces: one for each network and router of the host, made of bridges, taps, veths, tunnels, rules, dnsmasq and radvd.

Every call of `carry_out` compares what is wanted with what is there and changes the difference, so a restart changes nothing and connections go on.  The order
keeps guests safe: rules are in force before a device joins its bridge.  Of the host itself only veths to external networks with their
routes are touched, and with `outbound` one table of rules and `net.ipv4.ip_forward`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from objstore.errors import ObjstoreError
from objstore.runtime import commands, namespaces
from objstore.runtime.commands import Running
from objstore.runtime.net import Listener
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.network.driver import differences, kernel, names
from objstore.services.network.driver.api import CannotDrive, Carried, Lookup, NotTold, Tap
from objstore.services.network.driver.differences import Seen
from objstore.services.network.driver.guard import METADATA_IP4, METADATA_IP6, METADATA_PORT, stamp, stamped
from objstore.services.network.driver.metadata_server import Guest, MetadataServer
from objstore.services.network.driver.names import HOST_TABLE
from objstore.services.network.driver.plan import Plan, Site, Space, plan
from objstore.services.network.driver.servers import Server, Servers
from objstore.services.network.wanted import WantedHost, WantedNetwork, WantedPort

log = logging.getLogger(__name__)

LOOK_EVERY_S = 120.0  # what has not changed is compared again after this time, in case somebody else changed it
_AT_ONCE = 4  # programs that run side by side
_FORWARDING = "net/ipv4/ip_forward"
_FORWARDED = "forwarding-was-off"  # the file that remembers it


class NetnsDriver:
    """Of one host.  `directory` is absolute and its own; make it with `open_netns`."""

    name = "netns"

    def __init__(self, world: World, site: Site, directory: str, lookup: Lookup) -> None:
        self._world = world
        self._site = site
        self._threads = world.new_threads("netns", 2)
        self._disk = world.open_disk(directory)
        self._servers = Servers(self._disk, directory, self._threads, world.clock)
        self._metadata = MetadataServer(world.clock, self._guest, lookup)
        self._listeners: dict[str, list[Listener]] = {}
        self._lock = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wanted: WantedHost | None = None
        self._plugged: dict[str, tuple[WantedPort, WantedNetwork]] = {}  # cards in use, as they were last told of
        self._held: set[str] = set()  # and those of them that this driver was not told of yet
        self._tasks = TaskOwner("netns")
        self._plan = Plan()
        self._done: dict[str, tuple[Space, float]] = {}  # namespace -> what it was made, and when it was last compared
        self._doubts: dict[str, str] = {}  # namespace -> what is not as it was asked for, though all works
        self._told: dict[str, str] = {}  # failures of the last time

    async def carry_out(self, wanted: WantedHost) -> Carried:
        """See NetworkDriver."""
        async with self._lock:
            if not len(self._tasks):
                self._tasks.spawn(self._keep_looking())
            self._wanted = wanted
            return await self._carry_out(wanted)

    async def _keep_looking(self) -> None:
        while True:
            await self._world.clock.sleep(LOOK_EVERY_S)
            async with self._lock:
                if self._wanted is not None:
                    try:
                        await self._carry_out(self._wanted)
                    except (ObjstoreError, OSError) as failure:
                        log.warning("networks could not be looked at: %s", failure)
                    except Exception:  # without this loop nothing is put right any more
                        log.exception("networks could not be looked at")

    async def plug(self, port: str, server: str) -> Tap:
        """See NetworkDriver.  A port that the records still have on another host is taken as one that is about to come (live migration)."""
        async with self._lock:
            told = self._told_of(port)
            if told is None or self._wanted is None:
                raise NotTold(f"the network service has not told this host of port {port}")
            self._plugged[port] = told
            known = self._plan.ports.get(port)
            if known is None or known.space not in self._done:
                await self._carry_out(self._wanted)
                known = self._plan.ports.get(port)
            failures = self._plan.failures
            if known is None or known.space not in self._done:
                del self._plugged[port]
                why = failures.get(port) or failures.get(told[1].id) or "its network is not there"
                raise commands.CommandFailed(f"port {port} cannot be plugged in: {why}")
            return Tap(port, known.tap, names.namespace_path(known.space), known.mtu)

    def _told_of(self, port: str) -> tuple[WantedPort, WantedNetwork] | None:
        if self._wanted is None:
            return None
        networks = {network.id: network for network in self._wanted.networks}
        return next(((p, networks[p.network]) for p in self._wanted.ports if p.id == port and p.network in networks), None)

    def _with_cards_in_use(self, wanted: WantedHost) -> WantedHost:
        """A card that a guest has is not taken from under it: what was last told of it holds until it is unplugged."""
        for port in sorted(self._held):
            if (told := self._told_of(port)) is not None:
                self._plugged[port] = told
                self._held.discard(port)
        self._plugged = {port: self._told_of(port) or known for port, known in self._plugged.items()}
        ports, networks = {p.id for p in wanted.ports}, {n.id for n in wanted.networks}
        kept = [known for port, known in self._plugged.items() if port not in ports]
        more = {network.id: network for _, network in kept if network.id not in networks}
        if not kept:
            return wanted
        return msgspec.structs.replace(
            wanted, ports=(*wanted.ports, *(port for port, _ in kept)), networks=(*wanted.networks, *more.values())
        )  # fmt: skip

    def hold(self, port: str) -> None:
        """See NetworkDriver."""
        if port not in self._plugged:
            self._held.add(port)

    async def open_tap(self, tap: Tap) -> int:
        """See NetworkDriver."""
        return await self._threads.run(namespaces.inside, tap.namespace, namespaces.tap_descriptor, tap.name)

    async def unplug(self, port: str) -> None:
        """See NetworkDriver.  The tap goes when the port is wanted here no more."""
        async with self._lock:
            self._held.discard(port)
            if self._plugged.pop(port, None) is not None and self._wanted is not None:
                await self._carry_out(self._wanted)

    async def aclose(self) -> None:
        """See NetworkDriver."""
        await self._tasks.aclose()
        async with self._lock:
            for listeners in self._listeners.values():
                for listener in listeners:
                    await listener.aclose()
            self._listeners.clear()
            await self._metadata.aclose()
            self._threads.close()

    async def clean_up(self) -> None:
        """See NetworkDriver."""
        await self._tasks.aclose()
        async with self._lock:
            self._wanted, self._plan = None, Plan()
            self._plugged.clear()
            self._held.clear()
            await self._remove_others()
            seen = await kernel.look("")
            await kernel.batch("", [f"link del dev {link}" for link in sorted(seen.links) if self._site.names.is_outside(link)])
            await self._host_rules(Space("", ""))
            self._done.clear()

    def _guest(self, guest: Guest) -> tuple[str, str] | None:
        port = self._plan.guests.get(guest)
        known = self._plan.ports.get(port) if port else None
        return (known.port, known.server) if known else None

    async def _carry_out(self, wanted: WantedHost) -> Carried:
        made = plan(self._with_cards_in_use(wanted), self._site, self._plugged)
        self._plan = made
        missing = await self._missing(made)
        now = self._world.clock.monotonic()
        todo = [space for name, space in made.spaces.items() if missing or self._is_due(name, space, now)]
        failed: dict[str, list[str]] = {}
        await self._begin([made.spaces[name] for name in missing], failed)
        if todo or self._is_due("", made.host, now):
            await self._work(todo, made, failed)
        await self._remove_others(failed)
        for space in (*made.spaces.values(), made.host):
            if space.name in failed:
                self._done.pop(space.name, None)
                made.failures.setdefault(space.id or self._site.host, "; ".join(failed[space.name]))
            elif space.name in self._doubts:
                made.failures.setdefault(space.id, self._doubts[space.name])
        up = sorted(port.port for port in made.ports.values() if port.works and port.space in self._done and port.port not in made.failures)
        for thing, why in made.failures.items():
            if self._told.get(thing) != why:
                log.warning("network: %s is not as wanted: %s", thing, why)
        self._told = dict(made.failures)
        return Carried(wanted.revision, tuple(up), dict(made.failures))

    async def _missing(self, made: Plan) -> list[str]:
        """Namespaces that have to be made; half made ones are taken away."""

        def sort() -> tuple[list[str], list[str]]:
            present = set(namespaces.listed(names.NETNS_DIRECTORY))
            broken = {name for name in present & made.spaces.keys() if not namespaces.is_namespace(names.namespace_path(name))}
            return [name for name in made.spaces if name not in present or name in broken], sorted(broken)

        missing, broken = await self._threads.run(sort)
        await kernel.batch("", [f"netns del {name}" for name in broken])
        return missing

    def _is_due(self, name: str, space: Space, now: float) -> bool:
        known = self._done.get(name)
        return known is None or known[0] != space or now - known[1] >= LOOK_EVERY_S

    async def _begin(self, spaces: list[Space], failed: dict[str, list[str]]) -> None:
        """Make namespaces that are missing."""
        for space in spaces:
            await self._stop_listening(space.name)
            self._done.pop(space.name, None)
        for problem in await kernel.batch("", [f"netns add {space.name}" for space in spaces]):
            failed.setdefault("", []).append(problem)

    async def _work(self, todo: list[Space], made: Plan, failed: dict[str, list[str]]) -> None:
        """Devices first, networks' before routers'; then rules; then what joins the devices together."""
        seen: dict[str, Seen] = {}

        async def look(space: Space) -> None:
            await self._noting(failed, space, self._look(space, seen))

        async def begin(space: Space) -> None:
            await self._noting(failed, space, self._settings(space, space.before))
            await look(space)

        everything = [*todo, made.host]
        await self._each(begin, everything)
        touched: set[str] = set()
        for space in everything:
            if space.name in seen:
                touched |= await self._devices(space, seen, failed)
        if touched:  # also where the other end of something is that was made
            everything += [space for name, space in made.spaces.items() if name in touched and space not in todo]
            await self._each(look, everything)
        running = await self._servers.running()
        for gone in sorted({file.partition(".")[0] for file in running} - made.spaces.keys() - made.kept):
            await self._servers.end(gone, running)  # also where a stranger removed the namespace

        async def finish(space: Space) -> None:
            if space.name in seen:
                await self._noting(failed, space, self._finish(space, seen[space.name], running))

        await self._each(finish, everything)
        now = self._world.clock.monotonic()
        for space in everything:
            if space.name not in failed:
                self._done[space.name] = (space, now)

    async def _each(self, call: Callable[[Space], Awaitable[None]], spaces: Iterable[Space]) -> None:
        async def one(space: Space) -> None:
            async with self._slots:
                await call(space)

        await asyncio.gather(*(one(space) for space in spaces))

    async def _noting(self, failed: dict[str, list[str]], space: Space, work: Awaitable[list[str]]) -> None:
        try:
            problems = await work
        except (ObjstoreError, OSError) as failure:
            problems = [str(failure)]
        if problems:
            failed.setdefault(space.name, []).extend(problems)

    async def _look(self, space: Space, seen: dict[str, Seen]) -> list[str]:
        found = await kernel.look(space.name, tunnel_port=self._site.tunnel[1] if self._site.tunnel and space.metadata else 0)
        if not space.name:  # of the host only what is ours
            ours = {name: link for name, link in found.links.items() if self._site.names.is_outside(name)}
            found = Seen(ours, frozenset(route for route in found.routes if route.device in ours))
        seen[space.name] = found
        return []

    async def _settings(self, space: Space, settings: tuple[tuple[str, str], ...]) -> list[str]:
        if not settings:
            return []
        if not space.name:
            await self._threads.run(self._remember_forwarding)
        path = names.namespace_path(space.name) if space.name else ""
        return await self._threads.run(namespaces.inside, path, namespaces.set_values, settings)

    def _remember_forwarding(self) -> None:
        if namespaces.value(_FORWARDING) == "0":
            self._disk.open(_FORWARDED, create=True, write=True).close()

    async def _devices(self, space: Space, seen: dict[str, Seen], failed: dict[str, list[str]]) -> set[str]:
        """Remove devices that should not be, make those that are missing; in which namespaces anything was done."""
        now = seen[space.name]
        gone = differences.removals(space, now)
        made = differences.missing(space, now)
        own = [link.made for link in made if not link.by_host]
        if space.name and "lo" in now.links and not now.links["lo"].up:
            own = ["link set dev lo up", *own]
        for place, lines in ((space.name, gone), (space.name, own), ("", [link.made for link in made if link.by_host])):
            if problems := await kernel.batch(place, lines):
                failed.setdefault(space.name, []).extend(problems)
        return {space.name, *(link.other_end for link in made if link.other_end)} if gone or own or made else set()

    async def _finish(self, space: Space, seen: Seen, running: dict[str, list[Running]]) -> list[str]:
        problems = [f"{link.name} is not there" for link in space.links if link.name not in seen.links]
        await self._rules(space)
        problems += await self._settings(space, space.after)
        problems += await kernel.batch(space.name, differences.changes(space, seen))
        problems += await kernel.batch(space.name, differences.forwards(space, seen, names.TUNNEL), "bridge")
        if not space.name:
            return problems
        if ("learning", False) in [fact for link in space.links for fact in link.told]:  # other hosts may be on this machine
            await self._threads.run(namespaces.inside, names.namespace_path(space.name), namespaces.take_no_shortcut, names.TUNNEL)
        servers, doubt = await self._chosen(space, running)
        self._doubts.pop(space.name, None)
        if doubt:
            self._doubts[space.name] = doubt
        await self._servers.settle(space.name, servers, running)
        if space.metadata:
            await self._listen(space.name)
        await self._announce(space)
        return problems

    async def _rules(self, space: Space) -> None:
        if not space.name:
            await self._host_rules(space)
        elif (*space.table, stamp(space.rules)) not in await kernel.stamps(space.name):
            await kernel.load(space.name, stamped(space.rules, *space.table))

    async def _host_rules(self, space: Space) -> None:
        """The host's one table, which is there with `outbound` alone."""
        table = self._site.names.table
        if space.rules:
            if ("inet", table, stamp(space.rules)) not in await kernel.stamps(""):
                await kernel.load("", stamped(space.rules, "inet", table))
            return
        if not await self._threads.run(self._disk.exists, _FORWARDED) and ("inet", table) not in {s[:2] for s in await kernel.stamps("")}:
            return
        await kernel.load("", f"table inet {table} {{\n}}\ndelete table inet {table}\n")
        if await self._threads.run(self._disk.exists, _FORWARDED):
            if not any(name.startswith(HOST_TABLE) for _, name, _ in await kernel.stamps("")):  # another agent's guests need it still
                await self._threads.run(namespaces.set_values, ((_FORWARDING, "0"),))
            await self._threads.run(self._disk.unlink, _FORWARDED)

    async def _chosen(self, space: Space, running: dict[str, list[Running]]) -> tuple[list[Server], str]:
        """What should serve a namespace; dnsmasq without guests' own options where it does not take them, and why."""
        servers, doubt = [], ""
        if space.dnsmasq:
            server = Server(space.name, "dnsmasq", space.dnsmasq)
            if server.file not in running and space.dnsmasq != space.dnsmasq_plain and (said := await self._servers.test(server)):
                server = Server(space.name, "dnsmasq", space.dnsmasq_plain)
                doubt = f"guests' own DHCP options are left out, since dnsmasq does not take them: {said}"
            servers.append(server)
        if space.radvd:
            servers.append(Server(space.name, "radvd", space.radvd))
        return servers, doubt

    async def _listen(self, space: str) -> None:
        if space in self._listeners:
            return
        path = names.namespace_path(space)
        listeners: list[Listener] = []
        self._listeners[space] = listeners
        try:
            for place in ((METADATA_IP4, METADATA_PORT, ""), (METADATA_IP6, METADATA_PORT, names.BRIDGE)):
                listener = await namespaces.listen(self._threads, path, place, lambda: self._metadata.connection(space))
                listeners.append(listener)
        except OSError:
            await self._stop_listening(space)
            raise

    async def _stop_listening(self, space: str) -> None:
        for listener in self._listeners.pop(space, []):
            await listener.aclose()

    async def _announce(self, space: Space) -> None:
        """Addresses that have come to a router, so that neighbours do not look for them where they were."""
        known = self._done.get(space.name)
        new = set(space.announced) - set(known[0].announced if known else ())
        for device, mac, address in sorted(new):
            await self._threads.run(namespaces.inside, names.namespace_path(space.name), namespaces.announce, device, mac, [address])

    async def _remove_others(self, failed: dict[str, list[str]] | None = None) -> None:
        """Take away namespaces of this tag that are not planned."""
        present = await self._threads.run(namespaces.listed, names.NETNS_DIRECTORY)
        others = [n for n in present if self._site.names.is_namespace(n) and n not in self._plan.spaces and n not in self._plan.kept]
        if not others:
            return
        running = await self._servers.running()

        async def one(name: str) -> None:
            async with self._slots:
                problems = await self._remove(name, running)
            if problems and failed is not None:
                failed.setdefault("", []).extend(problems)

        await asyncio.gather(*(one(name) for name in others))

    async def _remove(self, name: str, running: dict[str, list[Running]]) -> list[str]:
        await self._stop_listening(name)
        self._done.pop(name, None)
        self._doubts.pop(name, None)
        try:
            await self._servers.end(name, running)
            if await self._threads.run(namespaces.is_namespace, names.namespace_path(name)):
                seen = await kernel.look(name)
                # One by one, so that names and tunnels are free at once: the namespace itself lives as long as anything is open in it.
                await kernel.batch(name, [f"link del dev {link}" for link in sorted(seen.links) if link != "lo"])
            return await kernel.batch("", [f"netns del {name}"])
        except (ObjstoreError, OSError) as failure:
            return [str(failure)]


async def open_netns(world: World, site: Site, directory: str, lookup: Lookup) -> NetnsDriver:
    """A driver, once it is sure that this process and kernel can do all it needs.  Raises CannotDrive, which says what is missing."""
    threads = world.new_threads("netns-probe", 1)
    try:
        if why := await threads.run(namespaces.why_not):
            raise CannotDrive(why)
        for program in kernel.PROGRAMS:
            try:
                commands.find(program)
            except commands.ProgramMissing as failure:
                raise CannotDrive(failure.message) from failure
        if not await threads.run(namespaces.filters_bridges):
            await _load_bridge_filter(world)
            if not await threads.run(namespaces.filters_bridges):
                raise CannotDrive("security groups need the kernel's br_netfilter: modprobe br_netfilter")
    finally:
        threads.close()
    return NetnsDriver(world, site, directory, lookup)


async def _load_bridge_filter(world: World) -> None:
    """Load it; the host's own bridges, which it would look into from now on, are left as they were."""
    try:
        await commands.run("modprobe", "br_netfilter", check=False)
    except commands.ProgramMissing:
        return
    threads = world.new_threads("netns-probe", 1)
    try:
        off = tuple((f"net/bridge/bridge-nf-call-{family}tables", "0") for family in ("ip", "ip6", "arp"))
        await threads.run(namespaces.set_values, off)
    finally:
        threads.close()
