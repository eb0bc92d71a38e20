"""OpenStack Swift from PyPI: proxy, account, container and object server over four directories, its S3 API in the pipeline."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.store import Store, Unobtainable
from tests.support.packages import install

RELEASE = "2.38.3"
SERVERS = {"account": 12, "container": 11, "object": 10}  # offsets of their ports
PROXY, CACHE = 1, 13

SWIFT_CONF = """[swift-hash]
swift_hash_path_prefix = bench
swift_hash_path_suffix = bench
[storage-policy:0]
name = gold
default = yes
"""
SERVER_CONF = """[DEFAULT]
devices = {root}/node
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = {user}
swift_dir = {root}/etc
log_level = ERROR
log_address = /nonexistent
recon_cache_path = {root}/cache
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
log_requests = false
[{name}-replicator]
[{name}-auditor]
"""
PROXY_CONF = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
user = {user}
swift_dir = {root}/etc
log_level = ERROR
log_address = /nonexistent
[pipeline:main]
pipeline = catch_errors cache bulk s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{cache}
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
min_segment_size = 1048576
auth_pipeline_check = false
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin http://127.0.0.1:{port}/v1/AUTH_test
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:copy]
use = egg:swift#copy
"""


class Swift(Store):
    """Its own defaults but for logs, which are off, and the number of workers."""

    name = "swift"
    durability = "3 replicas; answered when 2 have flushed the body; listings are written later, not flushed"
    access, secret = "test:tester", "testing"

    def __init__(self, directory: Path, port_base: int) -> None:
        super().__init__(directory, port_base)
        self._programs = programs()
        self.endpoint = f"127.0.0.1:{port_base + PROXY}"
        self.processes = f"({directory}/etc/.*-server.conf|memcached.*{port_base + CACHE})"

    @property
    def version(self) -> str:
        """The release that is installed."""
        return RELEASE

    def up(self) -> None:
        """Configuration, rings, servers."""
        root = self.directory
        for name in ("etc", "cache", *(f"node/d{number}" for number in range(1, 5))):
            (root / name).mkdir(parents=True)
        user = os.environ.get("USER") or "root"
        self._configure(root / "etc", user)
        for name, offset in SERVERS.items():
            self._make_ring(name, self.port_base + offset)
        self.start(["memcached", "-u", user, "-l", "127.0.0.1", "-p", str(self.port_base + CACHE), "-m", "256"], "memcached.log")
        for name in (*SERVERS, "proxy"):
            self.start([self._programs / f"swift-{name}-server", root / "etc" / f"{name}-server.conf"], f"{name}.log")
        for offset in (*SERVERS.values(), CACHE, PROXY):
            self.wait_for(self.port_base + offset, 30)

    def _configure(self, etc: Path, user: str) -> None:
        (etc / "swift.conf").write_text(SWIFT_CONF)
        for name, offset in SERVERS.items():
            filled = SERVER_CONF.format(
                root=self.directory, port=self.port_base + offset, workers=2 if name == "object" else 1, user=user, name=name
            )
            (etc / f"{name}-server.conf").write_text(filled)
        proxy = PROXY_CONF.format(root=self.directory, port=self.port_base + PROXY, cache=self.port_base + CACHE, user=user)
        (etc / "proxy-server.conf").write_text(proxy)

    def _make_ring(self, name: str, port: int) -> None:
        build = [self._programs / "swift-ring-builder", self.directory / "etc" / f"{name}.builder"]
        self.run([*build, "create", "10", "3", "1"])
        for number in range(1, 5):
            self.run([*build, "add", f"r1z{number}-127.0.0.1:{port}/d{number}", "1"])
        self.run([*build, "rebalance"])


def programs() -> Path:
    """Swift's programs, installed once in an environment of their own.  Raises Unobtainable."""
    why = install(["memcached"], lambda: Path("/usr/bin/memcached").exists())
    if why:
        raise Unobtainable(why)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "objstore-benchmarks" / f"swift-{RELEASE}"
    done = cache / "installed"
    if not done.exists():
        pip = cache / "bin" / "pip"
        for command in (
            [sys.executable, "-m", "venv", "--clear", cache],
            [pip, "install", "-q", "setuptools<81", "wheel"],
            [pip, "install", "-q", f"swift=={RELEASE}"],
        ):
            run = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=900)
            if run.returncode:
                raise Unobtainable(f"swift {RELEASE} cannot be installed: {run.stderr[-500:]}")
        done.touch()
    return cache / "bin"
