"""Versions under concurrent PUT and DELETE from many clients through both proxies, while a node is killed and comes back."""

import collections
import itertools
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.cluster import Cluster, running_cluster, wait_until

CLIENTS = 16
BUCKET = "race"


class Ledger:
    """What was answered: per version of the key its body (None: a delete marker), and which were told to be removed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written: dict[str, bytes | None] = {}
        self.removed: set[str] = set()
        self.unsure_bodies: set[bytes] = set()  # PUTs of unknown outcome
        self.unsure_markers = 0
        self.unsure_removed: set[str] = set()
        self.codes: collections.Counter[str] = collections.Counter()

    def call(self, what: str, do: Callable[[], Any]) -> Any | None:
        """Do something; None when its outcome is not known."""
        try:
            answer = do()
        except ClientError as refusal:
            status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
            with self.lock:
                self.codes[f"{what} {status}"] += 1
            if status not in (409, 503):
                raise
            return None
        except BotoCoreError as failure:
            with self.lock:
                self.codes[f"{what} {type(failure).__name__}"] += 1
            return None
        with self.lock:
            self.codes[f"{what} ok"] += 1
        return answer


class Racer:
    """One client: puts, marks and removes versions of one key."""

    def __init__(self, cluster: Cluster, ledger: Ledger, number: int) -> None:
        self.client = cluster.s3(number % 2, attempts=1)
        self.ledger = ledger
        self.number = number
        self.random = random.Random(number)

    def put(self, body: bytes) -> None:
        answer = self.ledger.call("put", lambda: self.client.put_object(Bucket=BUCKET, Key="k", Body=body))
        with self.ledger.lock:
            if answer is None:
                self.ledger.unsure_bodies.add(body)
            else:
                self.ledger.written[answer["VersionId"]] = body

    def mark(self) -> None:
        answer = self.ledger.call("mark", lambda: self.client.delete_object(Bucket=BUCKET, Key="k"))
        with self.ledger.lock:
            if answer is None:
                self.ledger.unsure_markers += 1
            else:
                assert answer["DeleteMarker"]
                self.ledger.written[answer["VersionId"]] = None

    def remove(self) -> None:
        with self.ledger.lock:
            left = [version for version in self.ledger.written if version not in self.ledger.removed | self.ledger.unsure_removed]
            if len(left) < 4:
                return
            # The newest as well: then the one before comes to light.
            version = self.random.choice(left) if self.random.random() < 0.7 else max(left)
            self.ledger.unsure_removed.add(version)
        answer = self.ledger.call("remove", lambda: self.client.delete_object(Bucket=BUCKET, Key="k", VersionId=version))
        if answer is not None:
            with self.ledger.lock:
                self.ledger.unsure_removed.discard(version)
                self.ledger.removed.add(version)

    def run(self, until: float) -> None:
        for turn in itertools.count():
            if time.monotonic() >= until:
                return
            chance = self.random.random()
            if chance < 0.45:
                self.put(b"%d/%d/" % (self.number, turn) + self.random.randbytes(self.random.choice((0, 100, 200_000))))
            elif chance < 0.5:
                self.mark()
            else:
                self.remove()


def race(cluster: Cluster, seconds: float, *, fault: Callable[[], None] | None = None) -> Ledger:
    ledger = Ledger()
    racers = [Racer(cluster, ledger, number) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        until = time.monotonic() + seconds
        running = [pool.submit(racer.run, until) for racer in racers]
        if fault is not None:
            running.append(pool.submit(fault))
        for task in running:
            task.result()
    return ledger


def listed(client: Any, page: int) -> list[tuple[str, bool, bool]]:
    """(version id, is latest, is a marker), newest first."""
    found = []
    for answer in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": page}):
        found += [(v["VersionId"], v["IsLatest"], False) for v in answer.get("Versions", [])]
        found += [(v["VersionId"], v["IsLatest"], True) for v in answer.get("DeleteMarkers", [])]
    return sorted(found, reverse=True)


def nothing_was_lost_and_nothing_came_back(cluster: Cluster, ledger: Ledger) -> None:
    clients = [cluster.s3(proxy, attempts=6) for proxy in (0, 1)]
    must = set(ledger.written) - ledger.removed - ledger.unsure_removed
    pages = [listed(client, page) for client, page in zip(clients, (1000, 7), strict=True)]
    for found in pages:
        there = {version for version, _, _ in found}
        assert must <= there, f"lost {sorted(must - there)}"
        assert not ledger.removed & there, f"came back {sorted(ledger.removed & there)}"
    # By what stands above only what nobody knows the outcome of can differ: it may take effect between the two.
    differing = {version for version, _, _ in pages[0]} ^ {version for version, _, _ in pages[1]}
    found = listed(clients[0], 1000) if differing else pages[1]
    assert sum(latest for _, latest, _ in found) == 1
    unexpected = [item for item in found if item[0] not in ledger.written]
    assert sum(marker for _, _, marker in unexpected) <= ledger.unsure_markers
    bodies = set()
    for version, latest, marker in found:
        if marker:
            assert ledger.written.get(version) is None
            continue
        body = clients[0].get_object(Bucket=BUCKET, Key="k", VersionId=version)["Body"].read()
        if version in ledger.written:
            assert body == ledger.written[version]
        else:
            assert body in ledger.unsure_bodies - bodies, "a version that nobody wrote, or one that was written twice"
            bodies.add(body)
        if latest:
            assert clients[1].get_object(Bucket=BUCKET, Key="k")["Body"].read() == body


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_versions_survive_racing_writers_and_a_killed_node(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path, *(["--tls"] if tls else [])) as cluster:
        client = cluster.s3()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

        def kill_and_start() -> None:
            time.sleep(2)
            cluster.ctl("stop", "node2", "--signal", "KILL")
            time.sleep(2)
            cluster.ctl("start", "node2")

        ledger = race(cluster, 8, fault=kill_and_start)
        nothing_was_lost_and_nothing_came_back(cluster, ledger)
        assert ledger.codes["put ok"] > 20
        assert ledger.codes["remove ok"] > 20


def test_versions_survive_a_growing_and_shrinking_ring(tmp_path: Path) -> None:
    with running_cluster(tmp_path, "--set", "daemons.replicate_interval_s=1") as cluster:
        client = cluster.s3()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

        def settled(epoch: int) -> None:
            def is_settled() -> bool:
                status = cluster.status()
                return bool(status["epoch"] >= epoch and not status["changing"])

            wait_until(is_settled, 90, f"the ring of epoch {epoch}")

        def grow_and_shrink() -> None:
            settled(cluster.ctl("add-node")["epoch"])
            settled(cluster.ctl("drain", "node1")["epoch"])
            settled(cluster.ctl("remove", "node1")["epoch"])

        ledger = race(cluster, 10, fault=grow_and_shrink)
        deadline = time.monotonic() + 120
        while not (status := cluster.status())["healthy"]:
            assert time.monotonic() < deadline, status
            time.sleep(0.2)
        nothing_was_lost_and_nothing_came_back(cluster, ledger)
        assert ledger.codes["put ok"] > 20
        for node in ("node2", "node3", "node4"):  # each copy is as good as any other
            cluster.ctl("stop", node, "--signal", "KILL")
            nothing_was_lost_and_nothing_came_back(cluster, ledger)
            cluster.ctl("start", node)
