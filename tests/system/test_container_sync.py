"""Container sync between two clusters of real processes: both ways, through kills, with a conflict, a removal and a wrong key."""

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, free_port_base, running_cluster, wait_until
from tests.support.swift_calls import Account

REALM_KEY, KEY = "realm-key-0123456789abcdef", "container-key-0123456789abcdef"
SECONDS = 60


class Pair:
    """Two clusters, and who owns the containers in each."""

    def __init__(self, clusters: list[Cluster]) -> None:
        self.clusters = clusters
        self.one, self.two = (Account(cluster) for cluster in clusters)

    def link(self, box: str, *, key: str = KEY) -> None:
        for account, other in ((self.one, "two"), (self.two, "one")):
            headers = {"X-Container-Sync-To": f"//us/{other}/AUTH_admin/{box}", "X-Container-Sync-Key": key if account is self.one else KEY}
            assert account.ask("PUT", box, headers=headers).status == 201


@pytest.fixture(scope="module", params=["http", pytest.param("tls", marks=pytest.mark.slow)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    tls = request.param == "tls"
    directory = tmp_path_factory.mktemp("pair")
    realms = directory / "realms.conf"
    authorities = directory / "peers.pem"
    options = ["--proxies", "1", "--set", f"container_sync.realms_file={realms}", "--set", "container_sync.interval_s=0.5"]
    if tls:
        options += ["--tls", "--set", f"container_sync.ca_file={authorities}"]
        authorities.write_text("")
    with ExitStack() as stack:
        realms.write_text(f"[us]\nkey = {REALM_KEY}\n")
        clusters = [stack.enter_context(running_cluster(directory / name, *options)) for name in ("one", "two")]
        addresses = [cluster.info["s3"][0] for cluster in clusters]
        realms.write_text(f"[us]\nkey = {REALM_KEY}\ncluster_one = {addresses[0]}/v1/\ncluster_two = {addresses[1]}/v1/\n")
        if tls:
            authorities.write_text("".join(Path(cluster.info["ca_cert"]).read_text() for cluster in clusters))
        for cluster in clusters:
            for name in cluster.pids():
                if name.startswith(("proxy", "daemon")):
                    cluster.ctl("stop", name)
                    cluster.ctl("start", name)
        yield Pair(clusters)


def test_two_containers_keep_in_step_through_kills_conflicts_and_removals(pair: Pair) -> None:
    one, two = pair.one, pair.two
    pair.link("box")
    large = os.urandom(300_000)
    assert one.ask("PUT", "box/from one", b"1", headers={"X-Object-Meta-Colour": "blue"}).status == 201
    assert two.ask("PUT", "box/large", large).status == 201
    wait_until(lambda: one.ask("GET", "box/large").body == large, SECONDS, "the large object to come")
    wait_until(lambda: two.ask("GET", "box/from one").body == b"1", SECONDS, "the small object to come")
    here, there = (account.ask("HEAD", "box/from one").headers for account in (one, two))
    assert (there["x-object-meta-colour"], there["x-timestamp"], there["etag"]) == ("blue", here["x-timestamp"], here["etag"])

    cluster = pair.clusters[1]
    proxy, daemon = (next(name for name in cluster.pids() if name.startswith(kind)) for kind in ("proxy", "daemon"))
    cluster.ctl("stop", proxy, "--signal", "KILL")
    cluster.ctl("stop", daemon, "--signal", "KILL")
    assert one.ask("PUT", "box/while away", b"2").status == 201
    assert one.ask("DELETE", "box/from one").status == 204
    assert one.ask("PUT", "box/conflict", b"older").status == 201
    own_daemon = next(name for name in pair.clusters[0].pids() if name.startswith("daemon"))
    pair.clusters[0].ctl("stop", own_daemon, "--signal", "KILL")
    cluster.ctl("start", proxy)
    assert two.ask("PUT", "box/conflict", b"newer").status == 201
    pair.clusters[0].ctl("start", own_daemon)
    cluster.ctl("start", daemon)
    wait_until(lambda: two.ask("GET", "box/while away").body == b"2", SECONDS, "what was written while the peer was away")
    wait_until(lambda: two.ask("GET", "box/from one").status == 404, SECONDS, "the removal")
    wait_until(lambda: one.ask("GET", "box/conflict").body == b"newer", SECONDS, "the newer write")
    assert two.ask("GET", "box/conflict").body == b"newer"
    assert two.ask("DELETE", "box/conflict").status == 204
    wait_until(lambda: one.ask("GET", "box/conflict").status == 404, SECONDS, "the removal of the other side")
    assert one.names("box") == two.names("box") == ["large", "while away"]
    assert int(one.ask("HEAD", "box").headers["x-container-sync-puts"]) >= 2


@pytest.mark.slow
def test_two_sides_that_are_written_at_once_agree_in_the_end_whatever_is_killed(pair: Pair) -> None:
    pair.link("storm")
    accounts = (pair.one, pair.two)
    end = time.monotonic() + 20

    def write(number: int) -> int:
        choose = random.Random(number)
        done = 0
        while time.monotonic() < end:
            account, name = choose.choice(accounts), f"storm/{choose.randrange(25):02d}"
            with contextlib.suppress(OSError, HTTPException):  # a proxy that is being killed; whether it was written nobody knows
                if choose.random() < 0.3:
                    account.ask("DELETE", name)
                else:
                    account.ask("PUT", name, f"{number}/{done}".encode(), headers={"X-Object-Meta-Writer": str(number)})
                done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        for step in range(4):
            time.sleep(3)
            cluster = pair.clusters[step % 2]
            victim = next(name for name in cluster.pids() if name.startswith(("proxy", "daemon")[step // 2]))
            cluster.ctl("stop", victim, "--signal", "KILL")
            cluster.ctl("start", victim)
        assert sum(writer.result() for writer in writers) > 100

    def found(account: Account) -> dict[str, tuple[str, str]]:
        rows = json.loads(account.ask("GET", "storm", query="format=json").body)
        return {row["name"]: (row["hash"], row["last_modified"]) for row in rows}

    # A note whose write was cut off is looked at once more after two minutes.
    wait_until(lambda: found(pair.one) == found(pair.two), 200, "both sides to agree")
    time.sleep(3)
    assert found(pair.one) == found(pair.two) != {}


def test_what_comes_back_ends_and_s3_takes_part(pair: Pair) -> None:
    pair.link("shared-by-both")
    s3 = pair.clusters[0].s3()
    s3.put_object(Bucket="shared-by-both", Key="k", Body=b"by s3")
    wait_until(lambda: pair.two.ask("GET", "shared-by-both/k").body == b"by s3", SECONDS, "what S3 wrote")

    def sent() -> list[str]:
        return [account.ask("HEAD", "shared-by-both").headers["x-container-sync-puts"] for account in (pair.one, pair.two)]

    wait_until(lambda: sent() == ["1", "0"], SECONDS, "what was sent to be counted")
    time.sleep(4)
    assert sent() == ["1", "0"]
    s3.delete_object(Bucket="shared-by-both", Key="k")
    wait_until(lambda: pair.two.ask("GET", "shared-by-both/k").status == 404, SECONDS, "what S3 removed")


def test_a_wrong_key_is_refused_and_nothing_secret_is_logged(pair: Pair) -> None:
    one, two = pair.one, pair.two
    pair.link("locked", key="a-wrong-key-0123456789")
    assert one.ask("PUT", "locked/o", b"1").status == 201
    wait_until(lambda: "401" in one.ask("HEAD", "locked").headers.get("x-container-sync-last-error", ""), SECONDS, "the refusal to be told")
    assert two.names("locked") == []
    two.ask("PUT", "locked/own", b"1")
    assert one.ask("POST", "locked", headers={"X-Container-Sync-Key": KEY}).status == 204
    wait_until(lambda: two.ask("GET", "locked/o").body == b"1", 2 * SECONDS, "the right key to do")
    for cluster in pair.clusters:
        for path in (cluster.directory / "log").iterdir():
            text = path.read_text(errors="replace")
            for secret in (REALM_KEY, KEY, "a-wrong-key-0123456789", one.token, two.token):
                assert secret not in text, path.name


def test_a_host_that_is_not_listed_is_not_asked(pair: Pair) -> None:
    pair.one.ask("PUT", "own")
    for to in (f"http://127.0.0.1:{free_port_base()}/v1/a/c", "http://169.254.169.254/v1/a/c", "//us/three/a/c"):
        assert pair.one.ask("POST", "own", headers={"X-Container-Sync-To": to}).status == 400
