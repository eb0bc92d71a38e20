"""No key, token or signature of Swift's clients in any log of real processes, at their most talkative, whatever goes wrong."""

import contextlib
import hashlib
import hmac
import json
import time
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.cluster import Cluster, running_cluster
from tests.support.swift_calls import Account, ask

KEYS = {
    "user": "key-of-a-user-6f1c0a",
    "wrong": "wrong-key-of-a-user-77ab",
    "account": "temp-url-key-of-account-93d1",
    "container": "temp-url-key-of-container-51ee",
    "sync": "sync-key-of-container-0c4d",
    "realm": "key-of-the-realm-a9e2f7",
    "object": "secret-metadata-stays-out-b2c3",
}
IDENTITIES = f"""
[[swift_user]]
account = "admin"
user = "tester"
key = "{KEYS["user"]}"
groups = [".admin"]
"""


def signed(method: str, path: str, key: str, *, seconds: int = 600) -> tuple[str, str]:
    """(query, signature) of a temporary URL."""
    expires = int(time.time()) + seconds
    digest = hmac.new(key.encode(), f"{method}\n{expires}\n{path}".encode(), hashlib.sha256).hexdigest()
    return f"temp_url_sig={digest}&temp_url_expires={expires}", digest


class Secrets:
    """What was used, and must be found nowhere."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.used = {*KEYS.values(), cluster.info["secret_key"], cluster.info["admin"]["password"]}
        self.account = Account(cluster)
        self.ca = cluster.info["ca_cert"] or None
        self.root = self.account.url.rpartition("/v1/")[0]
        self.used.add(self.account.token)

    def raw(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> int:
        with contextlib.suppress(OSError, HTTPException):
            return ask(self.root + path, method, headers or {}, body, ca_file=self.ca).status
        return 0

    def use(self) -> None:
        """Everything that carries a secret, rightly and wrongly."""
        account, path = self.account, urlsplit(self.account.url).path
        for name in ("box", "other"):
            account.ask("PUT", name, headers={"X-Container-Meta-Temp-Url-Key": KEYS["container"], "X-Container-Sync-Key": KEYS["sync"]})
        account.ask("POST", "", headers={"X-Account-Meta-Temp-Url-Key": KEYS["account"]})
        account.ask("PUT", "box/o", b"data", headers={"X-Object-Meta-Note": KEYS["object"]})
        for key in (KEYS["user"], KEYS["wrong"]):
            self.raw("GET", "/auth/v1.0", {"X-Auth-User": "admin:tester", "X-Auth-Key": key})
            self.raw("GET", "/auth/v1.0", {"X-Storage-User": "nobody:tester", "X-Storage-Pass": key})
        for name, method in (("o", "GET"), ("none", "GET"), ("new", "PUT"), ("%ff", "GET")):
            for key in (KEYS["account"], KEYS["container"], "no-key-at-all"):
                query, digest = signed(method, f"{path}/box/{name}", key)
                self.used.add(digest)
                self.raw(method, f"{path}/box/{name}?{query}", body=b"x" if method == "PUT" else None)
                self.raw(method, f"{path}/box/{name}?{query}&x=" + "y" * 70_000)
        for token in (self.account.token, self.account.token[:-4] + "AAAA"):
            self.used.add(token)
            for headers in ({"X-Auth-Token": token}, {"X-Storage-Token": token}, {"X-Auth-Token": token, "X-Service-Token": token}):
                self.raw("GET", f"{path}/box/o", headers)
                self.raw("PUT", f"{path}/none/o", {**headers, "ETag": "bad"}, b"x")
                self.raw("PUT", f"{path}/box/o", {**headers, "Content-Length": "x"})
        form = {
            "signature": signed("POST", f"{path}/box/", KEYS["account"])[1],
            "redirect": "",
            "max_file_size": "9",
            "max_file_count": "1",
        }
        self.used.add(form["signature"])
        body = (
            "".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form.items())
            + "--b--\r\n"
        )
        self.raw("POST", f"{path}/box/", {"Content-Type": "multipart/form-data; boundary=b"}, body.encode())
        for value in (f"us nonce {hashlib.sha1(b'x', usedforsecurity=False).hexdigest()}", "us"):
            self.raw("PUT", f"{path}/box/o", {"X-Container-Sync-Auth": value, "X-Timestamp": "1"}, b"x")
        self.raw("PUT", f"{path}/box/o", {"X-Container-Sync-Key": KEYS["sync"], "X-Timestamp": "1"}, b"x")
        account.ask("POST", "box", headers={"X-Container-Sync-To": "//us/nowhere/AUTH_admin/other"})
        self._keystone()

    def _keystone(self) -> None:
        identity = self.cluster.info["identity"]
        for password in (self.cluster.info["admin"]["password"], KEYS["wrong"]):
            user = {"name": "admin", "domain": {"id": "default"}, "password": password}
            scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
            body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}).encode()
            answer = ask(f"{identity}/auth/tokens", "POST", {"Content-Type": "application/json"}, body, ca_file=self.ca)
            token = answer.headers.get("x-subject-token")
            if token:
                self.used.add(token)
                self.raw("GET", f"{urlsplit(self.account.url).path}/box/o", {"X-Auth-Token": token})
                ask(f"{identity}/auth/tokens", "GET", {"X-Auth-Token": token, "X-Subject-Token": token}, ca_file=self.ca)

    def found(self) -> list[tuple[str, str]]:
        """Logs in which one stands, and which."""
        return [
            (path.name, secret)
            for path in sorted((self.cluster.directory / "log").iterdir())
            for text in [path.read_text(errors="replace")]
            for secret in self.used
            if secret in text
        ]


def complains(directory: Path) -> bool:
    """Whether the daemon has said that its peer does not answer."""
    return any("is not sent to its peer" in path.read_text(errors="replace") for path in (directory / "log").iterdir())


@pytest.mark.parametrize("options", [(), ("--tls",)], ids=["http", "tls"])
def test_logs_hold_no_secret_of_swifts_clients(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "users.toml").write_text(IDENTITIES)
    (tmp_path / "realms.conf").write_text(f"[us]\nkey = {KEYS['realm']}\ncluster_nowhere = http://127.0.0.1:9/v1/\n")
    settings = (
        "log.level=debug",
        f"container_sync.realms_file={tmp_path / 'realms.conf'}",
        "container_sync.interval_s=0.5",
        'container_sync.hosts=["127.0.0.1"]',
    )
    common = ("--proxies", "1", "--identities", str(tmp_path / "users.toml"), *(part for each in settings for part in ("--set", each)))
    with running_cluster(tmp_path / "c", *common, *options) as cluster:
        secrets = Secrets(cluster)
        secrets.use()
        nodes = [name for name in cluster.pids() if name.startswith("node")][:2]
        for node in nodes:
            cluster.ctl("stop", node, "--signal", "KILL")
        path = urlsplit(secrets.account.url).path
        for key in (KEYS["account"], KEYS["container"]):
            query, digest = signed("GET", f"{path}/box/o", key)
            secrets.used.add(digest)
            assert secrets.raw("GET", f"{path}/box/o?{query}") in (0, 503)
        for node in nodes:
            cluster.ctl("start", node)
        deadline = time.monotonic() + 60
        while not complains(cluster.directory):
            assert time.monotonic() < deadline, "the logs that are looked at are those of this cluster, whose peer is nowhere"
            time.sleep(0.5)
        cluster.down()
        assert secrets.found() == []
        assert len(secrets.used) > 20
