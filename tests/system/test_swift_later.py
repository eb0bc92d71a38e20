"""Deletions that go on after their answer, on real processes: all of it is removed, through kills of the daemon."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cluster import running_cluster, wait_until
from tests.support.swift_calls import Account

SEGMENTS = 400


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.slow, id="http"), pytest.param(("--tls",), id="tls")])
def test_segments_are_removed_by_a_daemon_that_was_killed_twice(tmp_path: Path, options: tuple[str, ...]) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "2", *options) as cluster:
        account = Account(cluster)
        for box in ("made", "segments"):
            assert account.ask("PUT", box).status == 201
        with ThreadPoolExecutor(8) as pool:
            done = pool.map(lambda number: account.ask("PUT", f"segments/{number:04d}", b"data").status, range(SEGMENTS))
            assert set(done) == {201}
        rows = [{"path": f"/segments/{number:04d}"} for number in range(SEGMENTS)]
        assert account.ask("PUT", "made/big", json.dumps(rows).encode(), query="multipart-manifest=put").status == 201
        assert len(account.ask("GET", "made/big").body) == 4 * SEGMENTS
        daemon = next(name for name in cluster.pids() if name.startswith("daemon"))
        cluster.ctl("stop", daemon, "--signal", "KILL")
        began = time.monotonic()
        assert account.ask("DELETE", "made/big", query="multipart-manifest=delete&async=yes").status == 204
        assert time.monotonic() - began < 5
        assert account.ask("GET", "made/big").status == 404
        assert account.names("made") == []
        assert len(account.names("segments")) == SEGMENTS
        assert account.ask("PUT", "segments/0007", b"newer").status == 201
        cluster.ctl("start", daemon)
        wait_until(lambda: len(account.names("segments")) < SEGMENTS, 60, "the first segments to go")
        cluster.ctl("stop", daemon, "--signal", "KILL")
        cluster.ctl("start", daemon)
        wait_until(lambda: account.names("segments") == ["0007"], 120, "all other segments to go")
        assert account.ask("GET", "segments/0007").body == b"newer"
