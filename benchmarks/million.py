"""Does a bucket of a million objects list as a bucket of ten thousand does?  `python -m benchmarks.million [--objects 1000000]`

Fills both through S3 with signed PUTs over many connections, says how that goes after every portion, and then measures, in turn and
several times, a page of 1,000 keys from a random place in each.  At last 8 clients write new objects while the container's count (HEAD,
through Swift) and the keys that a listing shows are held against each other: with nothing but new objects a listing shows at
least what was counted before it began and at most what is counted when it has ended, and when nobody writes the three agree.

A million objects of 1,000 bytes take some 10 GB, and 10 to 30 minutes on two cores.  `make bench-million OBJECTS=100000` is a short one.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.__main__ import OBJSTORE, ctl, disk_bytes, load

SMALL = 10_000
PORTION = 50_000
SIZE_BYTES = 1000
ROUNDS = 7
WRITERS = 8
WITHIN = 1.2  # how much more a page of the large bucket may cost


class Cluster:
    """A running cluster and how it is asked."""

    def __init__(self, directory: Path, found: dict[str, Any]) -> None:
        self.directory = directory
        self.endpoint = found["s3"][0].partition("//")[2]
        self.keys = (found["access_key"], found["secret_key"])
        self._found = found
        request = urllib.request.Request(found["swift_auth"], headers={"X-Auth-User": "admin:admin", "X-Auth-Key": self.keys[1]})
        with urllib.request.urlopen(request, timeout=30) as answer:
            self._storage, self._token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]

    def load(self, bucket: str, *arguments: str) -> dict[str, Any]:
        """The load generator's result."""
        return load(self.endpoint, *self.keys, ["--bucket", bucket, *arguments], str(self.directory))

    def count(self, bucket: str) -> int:
        """The container's count, as HEAD tells it."""
        request = urllib.request.Request(f"{self._storage}/{bucket}", method="HEAD", headers={"X-Auth-Token": self._token})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.headers["X-Container-Object-Count"])

    def listed(self, bucket: str) -> int:
        """How many keys ListObjectsV2 shows, page by page; they must ascend."""
        import boto3

        found = self._found
        client = boto3.client(
            "s3", endpoint_url=found["s3"][0], aws_access_key_id=self.keys[0], aws_secret_access_key=self.keys[1], region_name=found["region"]
        )  # fmt: skip
        keys, last = 0, ""
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            names = [item["Key"] for item in page.get("Contents", [])]
            if names != sorted(set(names)) or (names and names[0] <= last):
                raise SystemExit(f"keys do not ascend behind {last}")
            keys += len(names)
            last = names[-1] if names else last
        return keys


def fill(cluster: Cluster, bucket: str, objects: int, size: int) -> None:
    """Keys k00000000 and on, in portions whose keys lie next to each other."""
    began = time.monotonic()
    for first in range(0, objects, PORTION):
        count = min(PORTION, objects - first)
        result = cluster.load(
            bucket, "--mix", "put=1", "--size", str(size), "--concurrency", "64", "--procs", "2", "--prefix", "k",
            "--first", str(first), "--keys", str(first + count), "--count", str(count),
        )  # fmt: skip
        servers = result["srv_all"]
        print(
            f"{bucket}: {first + count:>9,} objects after {time.monotonic() - began:6.0f} s; {result['ops_s']:7.1f} PUT/s, "
            f"{servers['cpu_us_op']:6.1f} us of CPU each, {servers['write_bytes_op'] / 1000:.1f} KB written each, RSS {servers['rss_mb']:.0f} MB",
            flush=True,
        )


def compare_pages(cluster: Cluster, objects: int) -> float:
    """CPU of a page of the large bucket over that of the small one: the median of rounds, each of which asks both in turn."""
    found: dict[str, list[float]] = {"small": [], "large": []}
    walls: dict[str, list[float]] = {"small": [], "large": []}
    for _ in range(ROUNDS):
        for bucket, keys in (("small", SMALL), ("large", objects)):
            result = cluster.load(
                bucket, "--mix", "list=1", "--concurrency", "1", "--prefix", "k", "--keys", str(keys), "--verify", "--count", "200"
            )
            found[bucket].append(result["srv_all"]["cpu_us_op"])
            walls[bucket].append(result["per"]["list"]["p50_ms"])
    small, large = statistics.median(found["small"]), statistics.median(found["large"])
    print(f"LIST 1000 of {SMALL:,}: {small:,.0f} us, p50 {statistics.median(walls['small']):.1f} ms; of {objects:,}: {large:,.0f} us, "
          f"p50 {statistics.median(walls['large']):.1f} ms; ratio {large / small:.2f}, at most {WITHIN}")  # fmt: skip
    return large / small


def count_while_writing(cluster: Cluster, objects: int, size: int, seconds: float) -> None:
    """Eight clients write new objects; each listing meanwhile must lie between the counts before and after it."""
    results: list[dict[str, Any]] = []

    def write() -> None:
        arguments = ["--mix", "put=1", "--size", str(size), "--concurrency", str(WRITERS), "--prefix", "w", "--keys", "100000000"]
        results.append(cluster.load("large", *arguments, "--seconds", str(seconds)))

    writing = threading.Thread(target=write)
    writing.start()
    rounds = 0
    while rounds == 0 or writing.is_alive():
        before = cluster.count("large")
        listed = cluster.listed("large")
        after = cluster.count("large")
        print(f"while {WRITERS} clients write: counted {before:,}, listed {listed:,}, counted {after:,}", flush=True)
        if not before <= listed <= after:
            raise SystemExit("the listing and the counts do not agree")
        rounds += 1
    writing.join()
    wanted = objects + results[0]["ops"]
    counted, listed = cluster.count("large"), cluster.listed("large")
    print(f"nobody writes: {wanted:,} written, counted {counted:,}, listed {listed:,}")
    if not wanted == counted == listed:
        raise SystemExit("the listing, the count and what was written do not agree")


def heads_cost(cluster: Cluster, objects: int) -> None:
    """HEAD and GET of random objects of both."""
    for kind in ("head", "get"):
        for bucket, keys in (("small", SMALL), ("large", objects)):
            arguments = [
                "--mix",
                f"{kind}=1",
                "--concurrency",
                "16",
                "--prefix",
                "k",
                "--keys",
                str(keys),
                "--order",
                "rand",
                "--seconds",
                "3",
            ]
            result = cluster.load(bucket, *arguments, *(["--size", str(SIZE_BYTES)] if kind == "get" else []))
            print(
                f"{kind.upper()} c16 in {bucket}: {result['srv_all']['cpu_us_op']:.0f} us, p50 {result['per'][kind]['p50_ms']} ms",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--port-base", type=int, default=22000)
    parser.add_argument("--seconds", type=float, default=30, help="how long clients write while it is counted")
    parser.add_argument("--keep", action="store_true", help="keep the cluster's directory")
    parser.add_argument("--directory", default=None, help="where the cluster's directory is made")
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="objstore-million-", dir=arguments.directory))
    try:
        cluster = Cluster(directory, ctl(directory, "up", "--nodes", "3", "--proxies", "1", "--port-base", str(arguments.port_base)))
        fill(cluster, "small", SMALL, SIZE_BYTES)
        fill(cluster, "large", arguments.objects, SIZE_BYTES)
        print(f"on disk: {disk_bytes(directory) / (arguments.objects + SMALL) / 1000:.2f} KB an object, all replicas", flush=True)
        ratio = compare_pages(cluster, arguments.objects)
        heads_cost(cluster, arguments.objects)
        count_while_writing(cluster, arguments.objects, SIZE_BYTES, arguments.seconds)
    finally:
        subprocess.run([*OBJSTORE, "ctl", "--dir", str(directory), "down"], capture_output=True, timeout=60, check=False)
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    sys.exit(ratio > WITHIN)


if __name__ == "__main__":
    main()
