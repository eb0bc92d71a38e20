"""A whole cloud of real processes and guests for system tests: `objstore cloud up`, openstacksdk as its administrator, everything ended at the end.

with running_cloud(tmp_path / "c") as cloud:
    server = cloud.boot("web")
    cloud.says(server, "TINY boot=1")
"""

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.cluster import OBJSTORE, Cluster, free_port_base
from tests.support.packages import install

UP_TIMEOUT_S = 240
GUEST_TIMEOUT_S = 60  # for what takes a second on a machine with nothing else to do
PACKAGES = ["qemu-system-x86", "qemu-utils", "dnsmasq-base", "nftables", "iproute2", "genisoimage"]
# Everything that happens every few seconds in a cloud that people use happens more often here.
BRISK = ("agent.report_interval_s=0.5", "volume.commit_interval_s=0.5", "volume.watch_interval_s=0.5", "daemons.replicate_interval_s=1")


def why_no_guests() -> str:
    """Why no guest can run here, after an attempt to install what they need; else ""."""
    import shutil

    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    programs = ("qemu-system-x86_64", "qemu-img", "dnsmasq", "nft", "ip", "genisoimage")
    return install(PACKAGES, lambda: all(shutil.which(program, path=path) for program in programs))


class RunningCloud:
    """One cloud; `facts` is what its last `up` printed, `sdk` the administrator's connection."""

    def __init__(self, directory: Path) -> None:
        self.cluster = Cluster(directory, free_port_base())
        self.facts: dict[str, Any] = {}
        self.sdk: Any = None

    def command(self, *words: str, timeout_s: float = UP_TIMEOUT_S) -> str:
        """`objstore cloud`; what it printed."""
        command = [OBJSTORE, "cloud", *words, "--dir", str(self.cluster.directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}\n{self.cluster.logs()}"
        return done.stdout

    def up(self, *words: str) -> dict[str, Any]:
        """Start it (again), and log in."""
        import openstack

        self.facts = self.cluster.info = json.loads(self.command("up", "--json", "--port-base", str(self.cluster.port_base), *words))
        admin = self.facts["admin"]
        self.sdk = openstack.connect(
            auth={
                "auth_url": self.facts["identity"], "username": admin["user"], "password": admin["password"], "project_name": admin["project"],
                "user_domain_name": "Default", "project_domain_name": "Default",
            },
            region_name=self.facts["region"], verify=self.facts["ca_cert"] or True,
        )  # fmt: skip
        return self.facts

    def down(self) -> None:
        """Stop everything."""
        if self.sdk is not None:
            self.sdk.close()
        self.command("down")

    def boot(self, name: str, *, image: str = "tiny", flavor: str = "m1.nano", network: str | None = "private", **fields: Any) -> Any:
        """A new server, when it is ACTIVE."""
        compute = self.sdk.compute
        source = (
            {}
            if "block_device_mapping_v2" in fields or "block_device_mapping" in fields
            else {"image_id": self.sdk.image.find_image(image).id}
        )
        networks = [{"uuid": self.sdk.network.find_network(network).id}] if network else "none"
        server = compute.create_server(name=name, flavor_id=compute.find_flavor(flavor).id, networks=networks, **source, **fields)
        return self.active(server)

    def active(self, server: Any, status: str = "ACTIVE", timeout_s: float = GUEST_TIMEOUT_S) -> Any:
        """The server when it has that status; an error of it is told at once."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.sdk.compute.get_server(server.id)
            if found.status == status and not found.task_state:
                return found
            assert found.status != "ERROR" or status == "ERROR", f"{found.name}: {found.fault}\n{self.cluster.logs()}"
            assert time.monotonic() < deadline, f"{found.name} is {found.status} ({found.task_state}), not {status}\n{self.cluster.logs()}"
            time.sleep(0.1)

    def console(self, server: Any) -> str:
        """All that its serial line said."""
        return str(self.sdk.compute.get_server_console_output(server.id)["output"])

    def says(self, server: Any, pattern: str, timeout_s: float = GUEST_TIMEOUT_S) -> re.Match[str]:
        """Wait for a line on the console."""
        deadline = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.console(server))) is None:
            assert time.monotonic() < deadline, f"{server.name} does not say {pattern!r}:\n{self.console(server)}\n{self.cluster.logs()}"
            time.sleep(0.1)
        return found

    def volume(self, name: str, size_gb: int = 1, **fields: Any) -> Any:
        """A new volume, when it is available."""
        volume = self.sdk.block_storage.create_volume(name=name, size=size_gb, **fields)
        return self.sdk.block_storage.wait_for_status(volume, "available", ["error"], interval=0.2, wait=GUEST_TIMEOUT_S)

    def remove(self, *servers: Any) -> None:
        """Delete servers and wait until they are gone."""
        for server in servers:
            self.sdk.compute.delete_server(server.id)
        for server in servers:
            self.sdk.compute.wait_for_delete(server, interval=0.2, wait=GUEST_TIMEOUT_S)


@contextlib.contextmanager
def running_cloud(directory: Path, *words: str) -> Iterator[RunningCloud]:
    """Bring a cloud up, and down at the end whatever happened."""
    cloud = RunningCloud(directory)
    settings = [word for text in BRISK for word in ("--set", text)]
    try:
        cloud.up(*settings, *words)
        yield cloud
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            cloud.down()
