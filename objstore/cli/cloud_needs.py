"""What a host of guests needs besides Python, by Debian's packages, and whether it is here.

Guests need QEMU whatever else; networks of their own (namespaces, as root) need three more programs, while QEMU's own network, which a person
without rights gets, needs none.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from objstore.runtime import namespaces
from objstore.runtime.commands import PACKAGES

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # a person's PATH may lack the sbin ones


@dataclass(frozen=True)
class Need:
    """A program, and what for."""

    program: str
    why: str

    @property
    def package(self) -> str:
        """Debian's package that has it."""
        return PACKAGES[self.program]


ALWAYS = (
    Need("qemu-system-x86_64", "runs guests"),
    Need("qemu-img", "turns images of other formats than raw into disks"),
    Need("genisoimage", "writes config drives, where guests read who they are"),
)
NETWORKS = (
    Need("ip", "makes networks"),
    Need("nft", "does security groups and floating addresses"),
    Need("dnsmasq", "answers guests' DHCP"),
)


@dataclass(frozen=True)
class Host:
    """What was found; `driver` is the network driver that can work here."""

    missing: tuple[Need, ...]
    driver: str
    why_no_networks: str = ""

    def hint(self) -> str:
        """The command that brings what is missing."""
        return f"apt-get install --no-install-recommends {' '.join(sorted({need.package for need in self.missing}))}"

    def explain(self) -> str:
        """What is missing and what for, a line each."""
        return "\n".join(f"{need.program} ({need.package}): {need.why}" for need in self.missing)


def look(driver: str = "auto", *, found: Callable[[str], bool] | None = None, why_not: Callable[[], str] | None = None) -> Host:
    """What this host lacks for a cloud with that network driver ("netns", "user", or "auto": netns where it can be had).

    The keyword arguments answer for the host where they are given.
    """
    has = found or _on_path
    missing = _missing(ALWAYS, has)
    if driver == "user":
        return Host(missing, "user", "QEMU's own network was asked for")
    lacking = _missing(NETWORKS, has)
    why = (why_not or _why_not)()
    if why and driver == "auto":
        return Host(missing, "user", why)
    return Host((*missing, *lacking), "netns", why)


def _why_not() -> str:
    """What keeps this process from making networks; "" for nothing.  It is tried in a thread that ends with it."""
    if os.geteuid():
        return "networks of their own need root"
    with ThreadPoolExecutor(1) as one:
        return one.submit(namespaces.why_not).result()


def _missing(needs: Sequence[Need], has: Callable[[str], bool]) -> tuple[Need, ...]:
    return tuple(need for need in needs if not has(need.program))


def _on_path(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}") is not None
