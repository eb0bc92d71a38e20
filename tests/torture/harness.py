"""A cluster of real processes as a black box: `objstore ctl` and S3, nothing of its internals.

Writers keep what was acknowledged to them in this process's memory, outside everything that is killed or cut.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

OBJSTORE = str(Path(sys.executable).with_name("objstore"))
TRY_AGAIN = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)


class Violation(AssertionError):
    """A promise was broken."""


def install(*tools: str) -> list[str]:
    """Install Debian's packages of these names where they are missing (as root); returns what is missing still."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]):
            subprocess.run(command, check=True, capture_output=True, env=quiet, timeout=600)
    return [tool for tool in tools if not shutil.which(tool)]


class Cluster:
    """One cluster in one directory."""

    def __init__(self, directory: Path, *, port_base: int = 23000, up_arguments: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.port_base = port_base
        self.up_arguments = up_arguments
        self.info: dict[str, Any] = {}

    def ctl(self, *arguments: str, timeout_s: float = 120.0, check: bool = True) -> dict[str, Any]:
        command = [OBJSTORE, "ctl", *arguments, "--dir", str(self.directory)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        if check and done.returncode:
            raise AssertionError(f"ctl {' '.join(arguments)} exited {done.returncode}: {done.stdout} {done.stderr[-2000:]}")
        return answer

    def up(self) -> None:
        self.info = self.ctl("up", "--port-base", str(self.port_base), *self.up_arguments)

    def down(self) -> None:
        self.ctl("down", check=False)

    def pids(self) -> dict[str, int]:
        return dict(self.ctl("pids"))

    def kill_everything(self) -> None:
        """kill -9 of the supervisor first, then of all it started."""
        pids = [self.info["supervisor_pid"], *self.pids().values()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() and "Z" not in _state(pid) for pid in pids), 10, "killed processes to end")

    def kill(self, name: str) -> None:
        with contextlib.suppress(ProcessLookupError, KeyError):
            os.kill(self.pids()[name], signal.SIGKILL)

    def s3(self, proxy: int = 0, *, attempts: int = 1, timeout_s: float = 15.0) -> Any:
        config = Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=3,
            read_timeout=timeout_s,
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            "s3", endpoint_url=self.info["s3"][proxy], aws_access_key_id=self.info["access_key"], aws_secret_access_key=self.info["secret_key"],
            region_name=self.info["region"], config=config, verify=self.info.get("ca_cert") or None,
        )  # fmt: skip


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def wait_until(holds: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.02)


def retried(call: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    """The call's result, trying again for a while: for checks made after a fault is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return call()
        except TRY_AGAIN as failure:
            if status_of(failure) in (404, 412) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def status_of(failure: BaseException) -> int:
    response = getattr(failure, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


class Writers:
    """Threads that PUT keys of their own and note what was acknowledged.

    A key has one writer, which writes it again and again: after an unacknowledged write the key may hold either body; after the next
    acknowledged one exactly that.
    """

    def __init__(self, cluster: Cluster, bucket: str, *, threads: int = 6, keys: int = 40, seed: int = 1, large_every: int = 40) -> None:
        self.cluster = cluster
        self.bucket = bucket
        self.allowed: dict[str, set[str]] = {}  # key -> md5s that a read may find ("" = absent)
        self.acknowledged = 0
        self.failed = 0
        self._stop = threading.Event()
        self._doubt = threading.Event()
        self._seed = seed
        self._prefix = f"w{seed}-"  # keys of earlier rounds are others: what a read may find is known from the start
        self._keys = keys
        self._large_every = large_every
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(threads)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def doubt(self) -> None:
        """From now on an acknowledgement proves nothing: the power is going, and none of these would have left the machine."""
        self._doubt.set()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    def _run(self, index: int) -> None:
        rng = random.Random(self._seed * 1000 + index)
        proxies = len(self.cluster.info["s3"])
        client = self.cluster.s3(index % proxies)
        count = 0
        while not self._stop.is_set():
            key = f"{self._prefix}{index}/{rng.randrange(self._keys):04d}"
            count += 1
            size = rng.choice((300_000, 1_500_000)) if count % self._large_every == 0 else rng.randrange(1, 9000)
            deletes = rng.random() < 0.1
            body = rng.randbytes(size)
            wanted = "" if deletes else hashlib.md5(body, usedforsecurity=False).hexdigest()
            before = self.allowed.get(key, {""})
            self.allowed[key] = before | {wanted}
            try:
                if deletes:
                    client.delete_object(Bucket=self.bucket, Key=key)
                else:
                    client.put_object(Bucket=self.bucket, Key=key, Body=body)
            except TRY_AGAIN:
                self.failed += 1
                time.sleep(0.02)
            else:
                if not self._doubt.is_set():
                    self.allowed[key] = {wanted}
                    self.acknowledged += 1

    def check(self, client: Any) -> int:
        """Read every key; raises Violation with the first wrong one.  Returns how many were read."""
        for key, allowed in sorted(self.allowed.items()):
            found = fetch_md5(client, self.bucket, key)
            if found not in allowed:
                raise Violation(f"{key}: found {found or 'nothing'}, acknowledged {sorted(allowed)}")
        # A write whose outcome its client never learned may still take effect after a read that did not see it, from the one replica that
        # has it; so such keys may be listed or not.
        listed = {key for key in list_keys(client, self.bucket) if key.startswith(self._prefix)}
        certain = {key for key, allowed in self.allowed.items() if "" not in allowed}
        possible = {key for key, allowed in self.allowed.items() if allowed != {""}}
        if not certain <= listed <= possible:
            raise Violation(f"listing: missing {sorted(certain - listed)[:5]}, unexpected {sorted(listed - possible)[:5]}")
        return len(self.allowed)


def fetch_md5(client: Any, bucket: str, key: str) -> str:
    def fetch() -> str:
        try:
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except TRY_AGAIN as failure:
            if status_of(failure) == 404:
                return ""
            raise
        return hashlib.md5(body, usedforsecurity=False).hexdigest()

    found: str = retried(fetch)
    return found


def list_keys(client: Any, bucket: str) -> Iterator[str]:
    token: dict[str, str] = {}
    while True:
        page = retried(lambda token=token: client.list_objects_v2(Bucket=bucket, **token))  # type: ignore[misc]
        yield from (entry["Key"] for entry in page.get("Contents", []))
        if not page["IsTruncated"]:
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}
