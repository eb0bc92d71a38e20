"""Where clients play: real clusters with and without TLS, files with awkward names, and a hosts file of one's own.

A client that names buckets by host needs BUCKET.s3.localhost to resolve.  Each client runs in a mount namespace in which
/etc/hosts is another file, so nothing on the machine changes; that takes root.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.clients.environments import Installed
from tests.support.clouds import why_no_guests
from tests.support.cluster import OBJSTORE, Cluster, free_port_base, running_cluster

DOMAIN = "s3.localhost"
WEBSITE_DOMAIN = "web.localhost"
OTHER_KEYS = ("AKOTHER", "the-other-accounts-secret")
OTHER_EMAIL = "other@else.example"
IDENTITIES = f"""
[[user]]
account = "else"
name = "other"
access_key = "{OTHER_KEYS[0]}"
secret_key = "{OTHER_KEYS[1]}"
email = "{OTHER_EMAIL}"
"""
TRANSPORTS = ("http", "https", "http-host", "https-host")
RULES = ("identity.lockout_failures=3", "identity.lockout_s=2", "identity.password_history=2")  # tempest tries them
REALM = "[realm1]\nkey = the-key-of-the-realm\n"
RUN_TIMEOUT_S = 1200  # all of tempest on a busy machine
MARK = "@@ "
_IN_NAMESPACE = 'mount --bind "$HOSTS_FILE" /etc/hosts && exec "$@"'


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended: ok, failed or skipped (with the reason)."""

    scenario: str
    result: str
    detail: str = ""


class Stage:
    """Two clusters and a scratch directory."""

    def __init__(self, root: Path, clusters: dict[str, Cluster], hook_port: int) -> None:
        self.root = root
        self.clusters = clusters
        self.files = root / "files"
        _make_files(self.files)
        self._runs = 0
        self.hook_port = hook_port
        self._clouds: dict[str, str] = {}  # clusters that were given hosts of guests, or why they could not be

    def play(self, installed: Installed, transport: str) -> list[Outcome]:
        """Run a client's script once and collect what it says of its scenarios."""
        client = installed.client
        by_host = transport.endswith("-host")
        if by_host and client.no_virtual:
            return [Outcome("*", "skipped", client.no_virtual)]
        if by_host and os.geteuid():
            return [Outcome("*", "skipped", "only root can give a client a hosts file of its own")]
        if client.hosts and (why := self._with_guests(transport.partition("-")[0], client.hosts)):
            return [Outcome("*", "skipped", why)]
        self._runs += 1
        bucket = f"{client.name.replace('.', '-')}-{self._runs}"
        scratch = self.root / f"run{self._runs}"
        scratch.mkdir()
        environment = self._environment(installed, transport, bucket, scratch)
        command = installed.command
        if os.geteuid() == 0:
            hosts = "".join(
                f"127.0.0.1 {name}\n" for name in ("localhost", DOMAIN, *(f"{bucket}{tail}.{DOMAIN}" for tail in ("", "-2", "-3")))
            )
            (scratch / "hosts").write_text(hosts)
            environment["HOSTS_FILE"] = str(scratch / "hosts")
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_NAMESPACE, "sh", *command]
        try:
            done = subprocess.run(
                command, cwd=scratch, env=environment, capture_output=True, text=True, errors="replace", timeout=RUN_TIMEOUT_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return [*_outcomes(_text(late.stdout)), Outcome("*", "failed", f"it took longer than {RUN_TIMEOUT_S} s")]
        found = _outcomes(done.stdout)
        if done.returncode or not found:
            found.append(Outcome("*", "failed", f"exit {done.returncode}: {(done.stderr or done.stdout)[-600:]}"))
        return found

    def _with_guests(self, scheme: str, hosts: int) -> str:
        """Have hosts of guests in that cluster, and what a first server needs; why that cannot be, else ""."""
        if scheme in self._clouds:
            return self._clouds[scheme]
        cluster = self.clusters[scheme]
        self._clouds[scheme] = why = why_no_guests()
        if not why:
            command = [OBJSTORE, "cloud", "up", "--dir", str(cluster.directory), "--agents", str(hosts), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False)
            assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{cluster.logs()}"
            cluster.info = json.loads(done.stdout)
        return why

    def _environment(self, installed: Installed, transport: str, bucket: str, scratch: Path) -> dict[str, str]:
        scheme = transport.partition("-")[0]
        by_host = transport.endswith("-host")
        info = self.clusters[scheme].info
        port = info["s3"][0].rpartition(":")[2]
        url = f"{scheme}://{DOMAIN if by_host else '127.0.0.1'}:{port}"
        path = os.environ.get("PATH", "")
        return {
            "PATH": f"{installed.path}:{path}" if installed.path else path, "LANG": "C.UTF-8", "HOME": str(scratch), "TMPDIR": str(scratch),
            "S3_URL": url, "S3_HOST": url.partition("//")[2], "S3_SCHEME": scheme, "S3_STYLE": "virtual" if by_host else "path",
            "S3_ACCESS_KEY": info["access_key"], "S3_SECRET_KEY": info["secret_key"], "S3_REGION": info["region"],
            "OS_AUTH_URL": info["identity"], "OS_ADMIN_PASSWORD": info["admin"]["password"],
            "S3_OTHER_ACCESS_KEY": OTHER_KEYS[0], "S3_OTHER_SECRET_KEY": OTHER_KEYS[1], "S3_OTHER_EMAIL": OTHER_EMAIL,
            "S3_WEBSITE_DOMAIN": WEBSITE_DOMAIN, "S3_HOOK_PORT": str(self.hook_port),
            "S3_CA": info["ca_cert"] or "", "S3_BUCKET": bucket, "S3_FILES": str(self.files), "S3_SCRATCH": str(scratch),
            "S3_ADMIN_DIR": str(self.clusters[scheme].directory), "OS_CLIENT_CONFIG_FILE": str(self.clusters[scheme].directory / "clouds.yaml"), "AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1", **({"SSL_CERT_FILE": info["ca_cert"]} if info["ca_cert"] else {}),
        }  # fmt: skip


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _outcomes(output: str) -> list[Outcome]:
    lines = [json.loads(line[len(MARK) :]) for line in output.splitlines() if line.startswith(MARK)]
    return [Outcome(line["scenario"], line["result"], line.get("detail", "")) for line in lines]


def _make_files(directory: Path) -> None:
    """The same files in every run: nothing, text, names that need quoting, and one that takes several parts."""
    (directory / "sub dir" / "deeper").mkdir(parents=True)
    (directory / "empty").write_bytes(b"")
    (directory / "a+b&c=d.txt").write_text("hello")
    (directory / "sub dir" / "grün %41 'x'.bin").write_bytes(noise("small", 300_000))
    (directory / "sub dir" / "deeper" / "~tilde(1)!.txt").write_text("deep")
    (directory / "big.bin").write_bytes(noise("big", 20 << 20))


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not repeat and are the same in every run."""
    return hashlib.shake_128(seed.encode()).digest(size)


@contextlib.contextmanager
def stage(schemes: tuple[str, ...]) -> Iterator[Stage]:
    """Clusters of real processes, one for each of http and https that is asked for."""
    with tempfile.TemporaryDirectory(prefix="conformance") as directory, contextlib.ExitStack() as stack:
        root = Path(directory)
        (root / "identities.toml").write_text(IDENTITIES)
        hook_port = free_port_base()
        targets = json.dumps({"hook": {"url": f"http://127.0.0.1:{hook_port}/events"}})
        settings = (
            f's3.domains=["{DOMAIN}"]',
            f's3.website_domains=["{WEBSITE_DOMAIN}"]',
            "image.enforce_format=false",
            f"notifications.targets={targets}",
            *RULES,
        )
        common = ("--proxies", "1", "--identities", str(root / "identities.toml"), *(part for each in settings for part in ("--set", each)))
        clusters = {
            scheme: stack.enter_context(
                running_cluster(root / scheme, *common, *_realm(root, scheme), *(("--tls",) if scheme == "https" else ()))
            )
            for scheme in schemes
        }
        for scheme, cluster in clusters.items():
            _enter_realm(root, scheme, cluster)
        yield Stage(root, clusters, hook_port)


def _realm(root: Path, scheme: str) -> tuple[str, ...]:
    """Options for a realm of container sync, of which the cluster's own address is not known yet."""
    (root / f"{scheme}-realms.conf").write_text(REALM)
    authority = root / scheme / "tls" / "ca.pem"
    settings = [f"container_sync.realms_file={root / f'{scheme}-realms.conf'}", "container_sync.interval_s=0.5"]
    settings += [f"container_sync.ca_file={authority}"] if scheme == "https" else []
    return tuple(part for each in settings for part in ("--set", each))


def _enter_realm(root: Path, scheme: str, cluster: Cluster) -> None:
    """Make a cluster the one of its realm, as tempest expects it: containers are sent to others of the same cluster."""
    (root / f"{scheme}-realms.conf").write_text(f"{REALM}cluster_name1 = {cluster.info['s3'][0]}/v1/\n")
    for name in cluster.pids():
        if name.startswith(("proxy", "daemon")):
            cluster.ctl("stop", name)
            cluster.ctl("start", name)
