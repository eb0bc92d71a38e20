"""A cluster with hosts of guests, and what a conductor would ask of their agents: calls over HTTP with the agents' secret."""

import http.client
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from objstore.cli.cloud_guest import tiny_image
from objstore.services.compute import agent_api as api
from tests.support.cluster import Cluster, running_cluster, wait_until
from tests.support.nbd import VolumeCommands
from tests.support.packages import install

NAMES = {kind: name for name, kind in api.CALLS.items()}
GUEST_S = 60.0  # a tiny guest boots in a quarter of a second on a quiet machine


class Refused(AssertionError):
    """An agent's answer that is not 200."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error


class Cloud:
    """The cluster and its agents."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.volumes = VolumeCommands(cluster.directory)
        self.secret = (cluster.directory / "secrets" / "agents.secret").read_text().strip()

    def call(self, message: msgspec.Struct, *, agent: int = 1, timeout_s: float = 120.0, secret: str = "") -> dict[str, Any]:
        """One call to an agent; raises Refused."""
        return self.post(NAMES[type(message)], msgspec.json.encode(message), agent=agent, timeout_s=timeout_s, secret=secret)

    def post(self, name: str, body: bytes, *, agent: int = 1, timeout_s: float = 120.0, secret: str = "") -> dict[str, Any]:
        port = self.cluster.port_base + 500 + agent - 1
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        try:
            connection.request("POST", f"/v1/{name}", body, {"Authorization": f"Bearer {secret or self.secret}"})
            answer = connection.getresponse()
            document: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(answer.status, document.get("error", ""))
        return document

    def tiny_volume(self, text: str = "") -> str:
        """A volume that holds the guest in one sector; its id."""
        made: str = self.volumes("create", "--size", "2M")["id"]
        self.volumes("import", made, "-", input_=tiny_image(text))
        return made

    def spec(self, *volumes: str, **changes: Any) -> api.ServerSpec:
        """A guest with these disks, which boots from the first."""
        disks = tuple(api.Disk(volume, f"vd{'abcdef'[i]}", 0 if i == 0 else -1, serial=volume[:20]) for i, volume in enumerate(volumes))
        return msgspec.structs.replace(api.ServerSpec(str(uuid.uuid4()), "guest", "p", 1, 64, disks), **changes)

    def console(self, server: str, *, agent: int = 1, lines: int | None = None) -> str:
        """What the guest wrote."""
        output: str = self.call(api.ConsoleLog(server, lines), agent=agent)["output"]
        return output

    def wait_for(self, server: str, text: str, *, agent: int = 1) -> None:
        """Until it stands on the guest's console."""
        wait_until(lambda: text in self.console(server, agent=agent), GUEST_S, f"{text!r} on the console of {server}")

    def qemu(self, server: str) -> int:
        """The guest's process; 0 where there is none."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                except OSError:
                    continue
                if f"guest=objstore-{server}".encode() in words and state not in "ZX":
                    return int(entry.name)
        return 0

    def holder(self, volume: str) -> str:
        """Who has a volume attached."""
        held: str = self.volumes("show", volume)["holder"]
        return held


def need_qemu() -> None:
    """Have QEMU, installed where it is missing and this may be done; else fail and say what to install."""
    programs = ("qemu-system-x86_64", "genisoimage", "isoinfo")
    missing = install(["qemu-system-x86", "genisoimage"], lambda: all(map(shutil.which, programs)))
    assert not missing, missing


@contextmanager
def running_cloud(directory: Path, *arguments: str, agents: int = 1) -> Iterator[Cloud]:
    """A cluster with agents; whatever guests are left at the end are ended with it."""
    need_qemu()
    settings = ("--set", "agent.virt_type=tcg", "--set", "agent.unplug_timeout_s=3")
    with running_cluster(directory, "--agents", str(agents), *settings, *arguments) as cluster:
        cluster.ctl("stop", "services1")  # which knows of no guest of these tests, and would have all of them ended
        yield Cloud(cluster)
