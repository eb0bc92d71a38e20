"""Guests for network drivers without guests: a namespace whose `eth0` is a tap, and a thread that carries frames between it and the driver's tap, as QEMU does.

Everything is named by a tag of its own and taken away at the end.
"""

import contextlib
import itertools
import os
import secrets
import select
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from objstore.runtime import commands, namespaces
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.net import SocketNet
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World
from objstore.services.network.driver import values
from objstore.services.network.driver.api import Metadata, Tap
from objstore.services.network.driver.names import Names
from objstore.services.network.driver.netns import NetnsDriver, open_netns
from objstore.services.network.driver.plan import Site
from objstore.services.network.wanted import WantedPort
from tests.support import packages

PROGRAMS = ("ip", "bridge", "nft", "dnsmasq", "radvd", "udhcpc", "dhclient", "ping")
PACKAGES = ["iproute2", "nftables", "dnsmasq-base", "radvd", "udhcpc", "isc-dhcp-client", "iputils-ping", "kmod"]

DHCP_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip link set dev $interface mtu ${mtu:-1500}
ip addr replace $ip/$mask dev $interface
set -- $staticroutes
while [ -n "$2" ]; do
  if [ $2 = 0.0.0.0 ]; then ip route replace $1 dev $interface; else ip route replace $1 via $2 dev $interface; fi
  shift 2
done
env > "$0.env"
"""

_GET = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(urllib.request.Request(sys.argv[1], method=(sys.argv[2:] or ["GET"])[0]), timeout=4) as answer:
        sys.stdout.write(answer.read().decode())
except urllib.error.HTTPError as failure:
    sys.exit(f"{failure.code} {failure.read().decode()}")
except OSError as failure:
    sys.exit(f"no answer: {failure}")
"""


def why_not() -> str:
    """What keeps the tests of namespaces from running; "" for nothing."""
    if os.geteuid():
        return "network namespaces: only root can make them"
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(namespaces.why_not()))
    thread.start()
    thread.join()
    if found[0]:
        return found[0]
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    return packages.install(PACKAGES, lambda: all(shutil.which(program, path=path) for program in PROGRAMS))


def world() -> World:
    def nothing(*_: object) -> object:
        raise AssertionError("drivers have no use for it")

    return World(SystemClock(), nothing, SocketNet(), RealDisk, nothing, ThreadPool)  # type: ignore[arg-type]


@dataclass
class Ran:
    """What a command in a guest came to."""

    code: int
    text: str


class Guest:
    """A namespace that believes to be a machine with one network card."""

    def __init__(self, name: str, mac: str) -> None:
        self.name = name
        self.mac = mac
        self._stop, self._wake = os.pipe()
        self._thread: threading.Thread | None = None
        self._descriptors: list[int] = []

    async def begin(self, tap: int, mtu: int) -> None:
        await commands.run("ip", "netns", "add", self.name)
        lines = f"tuntap add dev eth0 mode tap vnet_hdr\nlink set dev eth0 address {self.mac} mtu {mtu}\nlink set dev eth0 up\nlink set dev lo up\n"
        await commands.run("ip", "-n", self.name, "-batch", "-", stdin=lines.encode())
        pool = ThreadPool("guest", 1)
        own = await pool.run(namespaces.inside, f"/run/netns/{self.name}", namespaces.tap_descriptor, "eth0")
        pool.close()
        self._descriptors = [tap, own]
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        one, other = self._descriptors
        while True:
            ready, _, _ = select.select([one, other, self._stop], [], [])
            if self._stop in ready:
                return
            for source in ready:
                with contextlib.suppress(OSError):  # a card that is down takes nothing
                    os.write(other if source == one else one, os.read(source, 70_000))

    async def run(self, *arguments: str, timeout_s: float = 30, stdin: bytes = b"") -> Ran:
        done = await commands.run("ip", "netns", "exec", self.name, *arguments, check=False, timeout_s=timeout_s, stdin=stdin)
        return Ran(done.code, done.stdout.decode(errors="replace") + done.stderr)

    async def set_address(self, address: str, gateway: str = "") -> None:
        await self.run("ip", "addr", "replace", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        if gateway:
            await self.run("ip", "route", "replace", "default", "via", gateway)

    async def pings(self, address: str, *options: str) -> bool:
        return (await self.run("ping", "-c", "1", "-W", "2", *options, address)).code == 0

    async def dhcp(self, directory: Path, *options: str) -> dict[str, str]:
        """What a DHCP client was told; its addresses and routes are set.  Empty when nobody answered."""
        script = directory / f"{self.name}.sh"
        script.write_text(DHCP_SCRIPT)
        script.chmod(0o755)
        done = await self.run(
            "udhcpc", "-f", "-q", "-n", "-t", "4", "-T", "1", "-i", "eth0", "-O", "staticroutes", "-O", "mtu", *options, "-s", str(script)
        )  # fmt: skip
        if done.code:
            return {}
        return dict(line.partition("=")[::2] for line in Path(f"{script}.env").read_text().splitlines())

    async def http(self, url: str, *options: str) -> Ran:
        """A page; its status goes before an error's text."""
        return await self.run(sys.executable, "-S", "-c", _GET, url, *options)

    async def end(self) -> None:
        if self._thread is not None:
            os.write(self._wake, b"x")
            self._thread.join()
        for descriptor in (*self._descriptors, self._stop, self._wake):
            os.close(descriptor)
        pids = await commands.run("ip", "netns", "pids", self.name, check=False)
        for pid in map(int, pids.stdout.split()):
            if (process := commands.running(pid)) is not None:
                await commands.end(process)
        await commands.run("ip", "netns", "del", self.name, check=False)


@dataclass
class Bench:
    """Drivers, and guests that are plugged into them."""

    directory: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(2))
    metadata: dict[str, Metadata] = field(default_factory=dict)  # by server
    drivers: dict[str, NetnsDriver] = field(default_factory=dict)
    guests: list[Guest] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def lookup(self, port_id: str, server: str) -> Metadata | None:
        return self.metadata.get(server)

    async def driver(self, host: str = "h1", tunnel: str = "", *, outbound: bool = False) -> NetnsDriver:
        """A driver of a host; asked again for the same one, it is as after a restart of its agent."""
        site = Site(host, Names(f"{self.mark}{host[-2:]}"), values.tunnel_end(tunnel) if tunnel else None, outbound)
        if host in self.drivers:
            await self.drivers[host].aclose()
        self.drivers[host] = await open_netns(world(), site, str(self.directory / host), self.lookup)
        return self.drivers[host]

    async def guest(self, driver: NetnsDriver, of: WantedPort) -> Guest:
        tap = await driver.plug(of.id, of.server)
        assert isinstance(tap, Tap)
        guest = Guest(f"guest-{self.mark}-{next(self.numbers)}", of.mac)
        self.guests.append(guest)
        await guest.begin(await driver.open_tap(tap), tap.mtu)
        return guest


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="objstore-networks-") as directory:
        made = Bench(Path(directory))
        try:
            yield made
        finally:
            for guest in made.guests:
                await guest.end()
            for driver in made.drivers.values():
                await driver.clean_up()
                await driver.aclose()


async def state(made: Bench) -> Mapping[str, str]:
    """What is on this machine of a bench's making."""
    spaces = [name for name in namespaces.listed("/run/netns") if made.mark in name]
    links = (await commands.run("ip", "-br", "link")).stdout.decode().split("\n")
    servers = {
        process.pid: arguments[0] for option in ("--conf-file=", "--config=")
        for process, arguments in commands.processes_with(f"{option}{made.directory}/").items()
    }  # fmt: skip
    return {
        "spaces": " ".join(spaces),
        "links": " ".join(line.split(" ")[0] for line in links if line.startswith(f"o{made.mark}")),
        "processes": " ".join(servers.values()),
    }
