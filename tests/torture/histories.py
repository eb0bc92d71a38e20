"""Recorded histories of a few keys under faults, each judged for linearizability.

Six clients at two proxies do conditional and plain PUT, DELETE, CopyObject and CompleteMultipartUpload while nodes and proxies are
killed, frozen and restarted.  What is not known stays unknown: a lost connection, a timeout, 5xx, and 409, which says that
another writer got in between.  Every body is unique, so that a read tells which write it saw.
"""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import botocore.exceptions

from tests.support.linearizability import NOTHING, Operation, linearizable
from tests.torture.harness import TRY_AGAIN, Cluster, Violation, retried, status_of

CLIENTS = 6
KEYS = 3
HISTORY_S = 4.0
TIMEOUT_S = 4.0  # of one request; what takes longer has an unknown outcome
PAUSE_S = 0.08  # between two operations of a client at most
AWAY_S = 0.2  # after a failure: more writes of unknown outcome would only make the history hard to judge
NOT_SENT = (botocore.exceptions.EndpointConnectionError, botocore.exceptions.ConnectTimeoutError)
BUCKETS = ("plain", "versioned")
KINDS = {"get": 5, "put": 2, "create": 2, "match": 2, "delete": 1, "delete_match": 1, "complete": 2, "copy": 2}
CONDITIONS = {"": 1, "create": 1, "match": 1}  # of completions and copies


@dataclass
class Record:
    """The operations on one key."""

    operations: list[Operation] = field(default_factory=list)


class Client:
    """One client of one history, at one proxy."""

    def __init__(self, s3: Any, bucket: str, records: dict[str, Record], seed: str, counts: Counter[str]) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._records = records
        self._rng = random.Random(seed)
        self._seed = seed
        self._counts = counts
        self._number = 0
        self._seen: dict[str, tuple[str, str]] = {}  # key -> (ETag, value) as read or written last

    def run(self, until_s: float) -> None:
        """One operation after another."""
        while time.monotonic() < until_s:
            kind = self._rng.choices([*KINDS], [*KINDS.values()])[0]
            key = self._rng.choice([*self._records])
            try:
                self._once(kind, key)
            except TRY_AGAIN:  # a read, or what only prepares an operation
                time.sleep(AWAY_S)
            time.sleep(self._rng.uniform(0, PAUSE_S))

    def read(self, key: str) -> None:
        """A GET, written down if it was answered."""
        start = time.monotonic_ns()
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
            value = answer["Body"].read().decode().split()[0]
        except TRY_AGAIN as failure:
            if status_of(failure) != 404:
                self._counts["get unknown"] += 1
                raise
            value = NOTHING
        end = time.monotonic_ns()
        self._counts["get"] += 1
        if value:
            self._seen[key] = (answer["ETag"], value)
        self._records[key].operations.append(Operation("get", start, end, result=value))

    def _once(self, kind: str, key: str) -> None:
        if kind == "get" or (kind in ("match", "delete_match") and key not in self._seen):
            self.read(key)
            return
        self._number += 1
        value = f"{self._seed}-{self._number}"
        body = (value + " ").ljust(self._rng.choice((0, 0, 3000, 200_000))).encode()
        place = {"Bucket": self._bucket, "Key": key}
        if kind == "delete":
            self._write(key, "delete", NOTHING, lambda: self._s3.delete_object(**place))
        elif kind == "delete_match":
            etag = self._seen[key][0]
            self._write(key, "match", NOTHING, lambda: self._s3.delete_object(**place, IfMatch=etag))
        elif kind in ("put", "create", "match"):
            given = self._condition(kind, key)
            self._write(key, kind, value, lambda: self._s3.put_object(**place, Body=body, **given))
        else:
            rule = self._rng.choices([*CONDITIONS], [*CONDITIONS.values()])[0]
            rule = "" if rule == "match" and key not in self._seen else rule
            given = self._condition(rule, key)
            if kind == "copy":
                source = {"Bucket": self._bucket, "Key": f"source/{value}"}
                self._s3.put_object(**source, Body=body)
                self._write(key, rule or "put", value, lambda: self._s3.copy_object(**place, CopySource=source, **given), what=kind)
            else:
                upload = {**place, "UploadId": self._s3.create_multipart_upload(**place)["UploadId"]}
                part = {"PartNumber": 1, "ETag": self._s3.upload_part(**upload, PartNumber=1, Body=body)["ETag"]}
                parts = {"Parts": [part]}
                self._write(
                    key,
                    rule or "put",
                    value,
                    lambda: self._s3.complete_multipart_upload(**upload, MultipartUpload=parts, **given),
                    what=kind,
                )

    def _condition(self, rule: str, key: str) -> dict[str, str]:
        if rule == "create":
            return {"IfNoneMatch": "*"}
        return {"IfMatch": self._seen[key][0]} if rule == "match" else {}

    def _write(self, key: str, kind: str, value: str, call: Any, *, what: str = "") -> None:
        """Do it and write it down."""
        expected = self._seen[key][1] if kind == "match" else NOTHING
        start = time.monotonic_ns()
        end: int | None
        ok = True
        try:
            answer = call()
            end = time.monotonic_ns()
        except NOT_SENT:
            self._counts["not sent"] += 1
            time.sleep(AWAY_S)
            return
        except TRY_AGAIN as failure:
            end = time.monotonic_ns()
            status = status_of(failure)
            if status == 412 or (status == 404 and kind == "match"):
                ok = False
            elif status in (0, 409) or status >= 500:
                end = None
                time.sleep(AWAY_S)
            else:
                raise Violation(f"{kind} of {key}: {failure}") from failure
        else:
            etag = answer.get("ETag") or answer.get("CopyObjectResult", {}).get("ETag")
            if etag:
                self._seen[key] = (etag, value)
        self._counts[(what or kind) + (" unknown" if end is None else "" if ok else " refused")] += 1
        self._records[key].operations.append(Operation(kind, start, end, value=value, expected=expected, ok=ok))


class Faults:
    """What happens to the processes during one history."""

    def __init__(self, cluster: Cluster, rng: random.Random, counts: Counter[str]) -> None:
        self._cluster = cluster
        self._rng = rng
        self._counts = counts

    def run(self, until_s: float) -> None:
        """One or two faults, the first soon."""
        time.sleep(self._rng.uniform(0.3, 1.0))
        while time.monotonic() < until_s - 0.5:
            what = self._rng.choice(("kill", "freeze", "restart", "kill_proxy", "freeze_proxy"))
            self._counts["fault " + what] += 1
            node = f"node{self._rng.randrange(1, 4)}"
            proxy = f"proxy{self._rng.randrange(1, 3)}"
            if what in ("kill", "kill_proxy"):
                self._cluster.kill(node if what == "kill" else proxy)
            elif what == "restart":
                self._cluster.ctl("stop", node)
                self._cluster.ctl("start", node)
            else:
                self._freeze(node if what == "freeze" else proxy, self._rng.uniform(0.3, 1.5))
            time.sleep(self._rng.uniform(0.5, 2.0))

    def _freeze(self, name: str, seconds: float) -> None:
        pid = self._cluster.pids()[name]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)


def histories(directory: Path, *, rounds: int, port_base: int, seed: int = 1) -> str:
    """Play and judge so many histories, by turns in a bucket without and with versions."""
    cluster = Cluster(directory, port_base=port_base)
    cluster.up()
    counts: Counter[str] = Counter()
    operations = 0
    try:
        setup = cluster.s3(attempts=6)
        for bucket in BUCKETS:
            retried(lambda bucket=bucket: setup.create_bucket(Bucket=bucket))  # type: ignore[misc]
        setup.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        clients = [cluster.s3(number % 2, timeout_s=TIMEOUT_S) for number in range(CLIENTS)]
        for number in range(rounds):
            records = _play(cluster, clients, BUCKETS[number % 2], f"{seed}.{number}", counts)
            operations += sum(len(record.operations) for record in records.values())
            for key, record in records.items():
                if not linearizable(record.operations):
                    raise Violation(f"history {number}, key {key}: no order explains it; kept in {_keep(directory, key, record)}")
                last = record.operations[-1]
                if linearizable([*record.operations, replace(last, start=last.end or 0, end=(last.end or 0) + 1, result="never written")]):
                    raise Violation("the checker takes a read for right that saw what nobody wrote")
            if number % 10 == 9:
                print(f"{number + 1}/{rounds} histories, {operations} operations", flush=True)
    finally:
        cluster.down()
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{rounds} histories of {CLIENTS} clients, {operations} operations on {KEYS * rounds} keys, all linearizable; {told}"


def _play(cluster: Cluster, s3: list[Any], bucket: str, seed: str, counts: Counter[str]) -> dict[str, Record]:
    records = {f"h{seed}/{letter}": Record() for letter in "abc"[:KEYS]}
    clients = [Client(s3[number], bucket, records, f"{seed}.{number}", counts) for number in range(CLIENTS)]
    faults = Faults(cluster, random.Random(seed), counts)
    until_s = time.monotonic() + HISTORY_S
    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        running = [pool.submit(client.run, until_s) for client in clients]
        running.append(pool.submit(faults.run, until_s))
        for task in running:
            task.result()
    for key in records:  # what is left, as both proxies see it
        for client in clients[:2]:
            retried(lambda client=client, key=key: client.read(key))  # type: ignore[misc]
    return records


def _keep(directory: Path, key: str, record: Record) -> Path:
    path = directory / f"history-{key.replace('/', '-')}.json"
    path.write_text("\n".join(json.dumps(asdict(operation)) for operation in sorted(record.operations, key=lambda found: found.start)))
    return path
