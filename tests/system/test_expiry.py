"""Objects that expire, on real processes: not found at once, and gone with their bytes a little later."""

from pathlib import Path

import pytest

from tests.support.cluster import running_cluster, wait_until
from tests.support.swift_calls import Account


@pytest.mark.parametrize(("versioned", "options"), [(False, ()), (True, ()), (False, ("--tls",))], ids=["plain", "versioned", "tls"])
def test_expired_objects_are_removed_by_a_daemon_that_was_killed(tmp_path: Path, versioned: bool, options: tuple[str, ...]) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=5", *options) as cluster:
        ask = Account(cluster).ask
        versions = {"X-Versions-Enabled": "true"} if versioned else {}
        assert ask("PUT", "timed", headers=versions).status == 201
        for name, size in (("small", 10), ("large", 300_000)):
            assert ask("PUT", f"timed/{name}", bytes(size), headers={"X-Delete-After": "3"}).status == 201
        assert ask("PUT", "timed/stays", b"data").status == 201
        assert ask("GET", "timed/large").body == bytes(300_000)
        daemon = next(name for name in cluster.pids() if name.startswith("daemon"))
        cluster.ctl("stop", daemon, "--signal", "KILL")
        wait_until(lambda: ask("GET", "timed/large").status == 404, 10, "the object's time to come")
        opened = ask("GET", "timed/large", headers={"X-Open-Expired": "true"})
        assert (opened.status, len(opened.body)) == (200, 300_000)
        assert ask("DELETE", "timed/large").status == 404
        cluster.ctl("start", daemon)

        def listed() -> list[str]:
            return ask("GET", "timed", query="versions").body.decode().split()

        wait_until(lambda: listed() == ["stays"], 60, "what has expired to be gone")
        head = ask("HEAD", "timed").headers
        assert (head["x-container-object-count"], head["x-container-bytes-used"]) == ("1", "4")
        assert ask("GET", "timed/large", headers={"X-Open-Expired": "true"}).status == 404
