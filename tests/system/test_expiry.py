"""Objects that expire, on real processes: not found at once, and gone with their bytes a little later."""

import http.client
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.cluster import Cluster, running_cluster, wait_until
from tests.support.swift_server import Reply


def ask(url: str, method: str, headers: dict[str, str], body: bytes | None = None) -> Reply:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body=body, headers=headers)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def log_in(cluster: Cluster) -> tuple[str, dict[str, str]]:
    info = cluster.info
    answer = ask(info["swift_auth"], "GET", {"X-Auth-User": "admin:admin", "X-Auth-Key": info["secret_key"]})
    return answer.headers["x-storage-url"], {"X-Auth-Token": answer.headers["x-auth-token"]}


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_expired_objects_are_removed_by_a_daemon_that_was_killed(tmp_path: Path, versioned: bool) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=5") as cluster:
        url, token = log_in(cluster)
        versions = {"X-Versions-Enabled": "true"} if versioned else {}
        assert ask(f"{url}/timed", "PUT", {**token, **versions, "Content-Length": "0"}).status == 201
        for name, size in (("small", 10), ("large", 300_000)):
            assert ask(f"{url}/timed/{name}", "PUT", {**token, "X-Delete-After": "3"}, bytes(size)).status == 201
        assert ask(f"{url}/timed/stays", "PUT", token, b"data").status == 201
        assert ask(f"{url}/timed/large", "GET", token).body == bytes(300_000)
        daemon = next(name for name in cluster.pids() if name.startswith("daemon"))
        cluster.ctl("stop", daemon, "--signal", "KILL")
        wait_until(lambda: ask(f"{url}/timed/large", "GET", token).status == 404, 10, "the object's time to come")
        opened = ask(f"{url}/timed/large", "GET", {**token, "X-Open-Expired": "true"})
        assert (opened.status, len(opened.body)) == (200, 300_000)
        cluster.ctl("start", daemon)

        def listed() -> list[str]:
            return ask(f"{url}/timed?versions", "GET", token).body.decode().split()

        wait_until(lambda: listed() == ["stays"], 60, "what has expired to be gone")
        head = ask(f"{url}/timed", "HEAD", token).headers
        assert (head["x-container-object-count"], head["x-container-bytes-used"]) == ("1", "4")
        assert ask(f"{url}/timed/large", "GET", {**token, "X-Open-Expired": "true"}).status == 404
