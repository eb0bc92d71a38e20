"""Ceph of Debian: one monitor, one manager, three OSDs on BlueStore, radosgw."""

import shutil
import time
import uuid
from pathlib import Path

from benchmarks.peers.store import Store, Unobtainable
from tests.support.packages import install

PACKAGES = ["radosgw", "ceph-osd", "ceph-mon", "ceph-mgr", "ceph-common"]
PROGRAMS = ("radosgw", "radosgw-admin", "ceph-osd", "ceph-mon", "ceph-mgr", "ceph", "monmaptool")
OSDS = 3
BLOCK_BYTES = 12 << 30  # a sparse file

# No cephx, of which radosgw's way to the monitor would be encrypted; without tcp_nodelay every GET of radosgw takes 40 ms more.
CONF = """[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon_old}]
mon_initial_members = a
ms_mon_client_mode = crc
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
keyring = {root}/keyring
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_port_min = {first}
ms_bind_port_max = {last}
run_dir = {root}/run
admin_socket = {root}/run/$name.asok
pid_file = {root}/run/$name.pid
log_file = {root}/$name.daemon.log
osd_pool_default_size = 3
osd_pool_default_min_size = 2
osd_pool_default_pg_num = 16
osd_pool_default_pgp_num = 16
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[mon.a]
mon_data = {root}/mon/a
[mgr]
mgr_data = {root}/mgr/x
[osd]
osd_data = {root}/osd$id
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = {block}
osd_memory_target = 1073741824
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_data = {root}/rgw
rgw_enable_usage_log = false
rgw_enable_ops_log = false
"""


class Ceph(Store):
    """Its own defaults but for authentication between its daemons, which is off, and radosgw's logs."""

    name = "ceph"
    durability = "3 replicas; answered when all 3 and the bucket's index have committed (BlueStore's log, fdatasync)"
    access, secret = "benchkey", "benchsecret"

    def __init__(self, directory: Path, port_base: int) -> None:
        super().__init__(directory, port_base)
        why = install(PACKAGES, lambda: all(map(shutil.which, PROGRAMS)))
        if why:
            raise Unobtainable(why)
        self.endpoint = f"127.0.0.1:{port_base + 80}"
        self.processes = f"(ceph-(osd|mon|mgr)|radosgw) -c {directory}/"
        self._conf = directory / "ceph.conf"

    @property
    def version(self) -> str:
        """What the program says of itself."""
        return self.run(["ceph-osd", "--version"]).split()[2]

    def up(self) -> None:
        """Monitor, manager, OSDs, gateway, and a user."""
        root, fsid = self.directory, str(uuid.uuid4())
        for name in ("mon", "mgr/x", "rgw", "run", *(f"osd{number}" for number in range(OSDS))):
            (root / name).mkdir(parents=True)
        (root / "keyring").touch()
        (root / "rgw" / "keyring").touch()
        monitor, old = self.port_base + 1, self.port_base + 2
        self._conf.write_text(
            CONF.format(
                root=root, fsid=fsid, mon=monitor, mon_old=old, first=self.port_base + 10, last=self.port_base + 79, port=self.port_base + 80, block=BLOCK_BYTES
            )
        )  # fmt: skip
        self.run(["monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{old}]", root / "monmap"])
        self.run(["ceph-mon", "-c", self._conf, "-i", "a", "--mkfs", "--monmap", root / "monmap", "--mon-data", root / "mon" / "a"])
        self.start(["ceph-mon", "-c", self._conf, "-i", "a", "-f"], "mon.log")
        self.wait_for(monitor, 30)
        self.start(["ceph-mgr", "-c", self._conf, "-i", "x", "-f"], "mgr.log")
        for number in range(OSDS):
            osd = str(uuid.uuid4())
            self.run(["ceph", "-c", self._conf, "osd", "new", osd])
            self.run(["ceph-osd", "-c", self._conf, "-i", str(number), "--mkfs", "--osd-uuid", osd])
            self.start(["ceph-osd", "-c", self._conf, "-i", str(number), "-f"], f"osd{number}.log")
        self._wait_for_osds()
        self.start(["radosgw", "-c", self._conf, "-n", "client.rgw", "-f"], "rgw.log")
        self.wait_for(self.port_base + 80, 120)
        self.run(
            ["radosgw-admin", "-c", self._conf, "-n", "client.rgw", "user", "create", "--uid=bench", "--display-name=bench", f"--access-key={self.access}", f"--secret-key={self.secret}"]
        )  # fmt: skip

    def _wait_for_osds(self) -> None:
        end = time.monotonic() + 60
        while f"{OSDS} up" not in self.run(["ceph", "-c", self._conf, "osd", "stat"]):
            if time.monotonic() > end:
                raise Unobtainable(f"the OSDs do not come up: {self.last_words()}")
            time.sleep(0.5)
