"""`make bench`: the budgets of the design, measured on a real cluster of processes started for this run.

CPU is that of *all* server processes (proxy, nodes, daemon, supervisor; user and system), so it does not depend on what else the machine
does as much as wall time would.  Each budget is also shown scaled by what the trivial raw server costs, measured just before and just after each
case: the budgets were set on another machine, and what a shared one charges changes from minute to minute.  Everything is durable: W = 2
of 3, flushed before the answer.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import guarded

RAW_PUT_REFERENCE_US = 12.0  # the raw server's 4 KiB PUT on the machine for which the budgets were set
PYTHON = sys.executable
OBJSTORE = [PYTHON, "-m", "objstore.cli"]  # no console script: one of a virtual environment names the tree it was made for

# name, load arguments, unit, must, goal.  Units: us = CPU per operation, ns/B = CPU per byte, ops = operations a second.
CASES: list[tuple[str, list[str], str, float, float]] = [
    ("PUT 4 KiB c16", ["--mix", "put=1", "--size", "4096", "--concurrency", "16", "--prefix", "a", "--keys", "100000", "--seconds", "4"], "us", 600, 350),
    ("PUT 4 KiB c1", ["--mix", "put=1", "--size", "4096", "--concurrency", "1", "--prefix", "b", "--keys", "100000", "--seconds", "3"], "us", 2500, 1200),
    ("PUT 4 KiB c64", ["--mix", "put=1", "--size", "4096", "--concurrency", "64", "--prefix", "c", "--keys", "100000", "--seconds", "3"], "us", 600, 350),
    ("fill 10,000 x 4 KiB", ["--mix", "put=1", "--size", "4096", "--concurrency", "32", "--prefix", "k", "--keys", "10000"], "us", 600, 350),
    ("GET 4 KiB c16", ["--mix", "get=1", "--size", "4096", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--order", "rand", "--verify", "--seconds", "3"], "us", 300, 150),
    ("HEAD c16", ["--mix", "head=1", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--order", "rand", "--seconds", "3"], "us", 250, 120),
    ("LIST 1000 of 10,000", ["--mix", "list=1", "--concurrency", "1", "--prefix", "k", "--keys", "10000", "--verify", "--seconds", "3"], "us", 8000, 4000),
    ("DELETE c16", ["--mix", "delete=1", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--count", "10000"], "us", 600, 350),
    ("PUT 1 MiB c16", ["--mix", "put=1", "--size", "1048576", "--concurrency", "16", "--prefix", "m", "--keys", "64", "--seconds", "4"], "us", 9000, 6000),
    ("GET 1 MiB c16", ["--mix", "get=1", "--size", "1048576", "--concurrency", "16", "--prefix", "m", "--keys", "64", "--order", "rand", "--seconds", "4"], "us", 2400, 800),
    ("PUT 16 MiB c4", ["--mix", "put=1", "--size", "16777216", "--concurrency", "4", "--prefix", "x", "--keys", "16", "--count", "32"], "ns/B", 8, 5),
    ("GET 16 MiB c4", ["--mix", "get=1", "--size", "16777216", "--concurrency", "4", "--prefix", "x", "--keys", "16", "--count", "48"], "ns/B", 2.1, 0.6),
    ("PUT 4 KiB c16 encrypted", ["--bucket", "sealed", "--mix", "put=1", "--size", "4096", "--concurrency", "16", "--prefix", "k", "--keys", "5000", "--count", "5000"], "us", 0, 0),
    ("GET 4 KiB c16 encrypted", ["--bucket", "sealed", "--mix", "get=1", "--size", "4096", "--concurrency", "16", "--prefix", "k", "--keys", "5000", "--order", "rand", "--verify", "--seconds", "3"], "us", 0, 0),
    ("PUT 1 MiB c16 encrypted", ["--bucket", "sealed", "--mix", "put=1", "--size", "1048576", "--concurrency", "16", "--prefix", "m", "--keys", "64", "--seconds", "4"], "us", 0, 0),
    ("GET 1 MiB c16 encrypted", ["--bucket", "sealed", "--mix", "get=1", "--size", "1048576", "--concurrency", "16", "--prefix", "m", "--keys", "64", "--order", "rand", "--seconds", "4"], "us", 0, 0),
    ("guarded: PUT 4 KiB c16", ["--bucket", "guarded", "--mix", "put=1", "--size", "4096", "--concurrency", "16", "--prefix", "a", "--keys", "100000", "--seconds", "4"], "us", 600, 350),
    ("guarded: fill 10,000 x 4 KiB", ["--bucket", "guarded", "--mix", "put=1", "--size", "4096", "--concurrency", "32", "--prefix", "k", "--keys", "10000"], "us", 600, 350),
    ("guarded: GET 4 KiB c16", ["--bucket", "guarded", "--mix", "get=1", "--size", "4096", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--order", "rand", "--verify", "--seconds", "3"], "us", 300, 150),
    ("guarded: HEAD c16", ["--bucket", "guarded", "--mix", "head=1", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--order", "rand", "--seconds", "3"], "us", 250, 120),
    ("guarded: LIST 1000 of 10,000", ["--bucket", "guarded", "--mix", "list=1", "--concurrency", "1", "--prefix", "k", "--keys", "10000", "--verify", "--seconds", "3"], "us", 8000, 4000),
    ("guarded: DELETE c16", ["--bucket", "guarded", "--mix", "delete=1", "--concurrency", "16", "--prefix", "k", "--keys", "10000", "--count", "10000"], "us", 600, 350),
    ("multipart 16 MiB, 5 MiB parts", ["--mix", "multipart=1", "--size", "16777216", "--concurrency", "2", "--prefix", "p", "--keys", "12", "--count", "12"], "ns/B", 10, 6),
]  # fmt: skip


def load(endpoint: str, access: str, secret: str, arguments: list[str], server: str) -> dict[str, Any]:
    command = [
        PYTHON,
        "-m",
        "benchmarks.load",
        "--endpoint",
        endpoint,
        "--access",
        access,
        "--secret",
        secret,
        "--bucket",
        "bench",
        "--create-bucket",
    ]
    done = subprocess.run([*command, *arguments, "--server", f"all={server}"], capture_output=True, text=True, timeout=600, check=False)
    if not done.stdout.strip():
        raise SystemExit(f"the load generator failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise SystemExit(f"{result['errors']} errors in {arguments}: {result.get('error_sample')}")
    return result


def ctl(directory: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([*OBJSTORE, "ctl", *arguments, "--dir", str(directory)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"ctl {arguments}: {done.stdout} {done.stderr[-2000:]}")
    return json.loads(done.stdout)  # type: ignore[no-any-return]


class RawServer:
    """The trivial server (benchmarks/raw.py), which runs beside the cluster and idles but for its own short measurements."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process = subprocess.Popen([PYTHON, "-m", "benchmarks.raw", str(port)])
        time.sleep(1.0)

    def cost_us(self, kind: str = "put") -> float:
        """CPU of 20,000 requests of 4 KiB, each, now."""
        arguments = ["--mix", f"{kind}=1", "--size", "4096", "--concurrency", "16", "--keys", "2000", "--count", "20000"]
        cost: float = load(f"127.0.0.1:{self._port}", "k", "s", arguments, f"benchmarks.raw {self._port}")["srv_all"]["cpu_us_op"]
        return cost

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


def scale_of(raw_put_us: float) -> float:
    """How much slower this machine is than the one for which the budgets were set."""
    return max(1.0, raw_put_us / RAW_PUT_REFERENCE_US)


def disk_bytes(directory: Path) -> int:
    return sum(f.stat().st_blocks * 512 for f in directory.rglob("*") if f.is_file())


def verdict(value: float, must: float, goal: float) -> str:
    if not must:
        return ""  # shown for information
    return "goal" if value <= goal else "must" if value <= must else "SHORT"


class Report:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        print(
            f"\n{'operation':36}{'measured':>12} {'unit':10}{'must':>8}{'goal':>8}  {'verdict':8}{'raw us':>7} {'scaled':8}"
            f"{'op/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
        )

    def row(self, name: str, value: float, unit: str, must: float, goal: float, *, raw_us: float = 0.0, **more: Any) -> None:
        scaled = verdict(value / scale_of(raw_us), must, goal) if raw_us else ""
        row = {
            "name": name,
            "value": value,
            "unit": unit,
            "must": must,
            "goal": goal,
            "verdict": verdict(value, must, goal),
            "raw_us": round(raw_us, 1),
            "scaled": scaled,
            **more,
        }
        self.rows.append(row)
        tail = "".join(f"{more.get(k, ''):>9}" for k in ("ops_s", "p50_ms", "p99_ms"))
        raw = f"{raw_us:.1f}" if raw_us else ""
        print(f"{name:36}{value:>12,.1f} {unit:10}{must:>8,g}{goal:>8,g}  {row['verdict']:8}{raw:>7} {scaled:8}{tail}", flush=True)


def make_sealed_bucket(cluster: dict[str, Any]) -> None:
    """A bucket whose objects are encrypted under the store's key."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=cluster["s3"][0], aws_access_key_id=cluster["access_key"], aws_secret_access_key=cluster["secret_key"], region_name=cluster["region"]
    )  # fmt: skip
    client.create_bucket(Bucket="sealed")
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    client.put_bucket_encryption(Bucket="sealed", ServerSideEncryptionConfiguration={"Rules": rules})


def measure(directory: Path, only: str, report: Report, cluster: dict[str, Any], raw: RawServer) -> None:
    endpoint = cluster["s3"][0].partition("//")[2]
    server = str(directory)
    make_sealed_bucket(cluster)
    requester = guarded.make(cluster)
    chosen = [name for name, *_ in CASES if only.lower() in name.lower()]
    if any(name.startswith("guarded") for name in chosen):
        chosen.append("guarded: fill 10,000 x 4 KiB")
    chosen.append("fill 10,000 x 4 KiB")
    raw_us = raw.cost_us()
    for name, arguments, unit, must, goal in CASES:
        is_guarded = name.startswith("guarded")
        if name not in chosen:
            continue
        before = disk_bytes(directory)
        keys = requester if is_guarded else (cluster["access_key"], cluster["secret_key"])
        result = load(endpoint, *keys, arguments, server)
        servers = result["srv_all"]
        per = next(iter(result["per"].values()))
        value = servers["cpu_us_op"] if unit == "us" else servers["cpu_ns_byte"]
        raw_before_us, raw_us = raw_us, raw.cost_us()
        report.row(
            name,
            value,
            unit,
            must,
            goal,
            raw_us=(raw_before_us + raw_us) / 2,
            ops_s=result["ops_s"],
            p50_ms=per["p50_ms"],
            p99_ms=per["p99_ms"],
            load=result,
        )
        if name == "PUT 4 KiB c16":
            report.row("  device writes per PUT", servers["write_bytes_op"] / 1000, "KB", 25, 16)
        if "fill" in name:
            ctl(directory, "repair", "--wait")
            report.row("  disk per 4 KiB object", (disk_bytes(directory) - before) / 10_000 / 1000, "KB", 16, 14)
    for name, only_of, must, goal, rest_s in (
        ("RSS of 1 proxy and 3 nodes", f"cli (proxy|node) .*{server}", 300, 160, 0.0),
        ("RSS of all processes", server, 0, 0, 0.0),
        ("RSS of 1 proxy, 3 nodes, 10 s later", f"cli (proxy|node) .*{server}", 300, 160, 10.0),
    ):
        time.sleep(rest_s)
        memory = load(
            endpoint,
            cluster["access_key"],
            cluster["secret_key"],
            ["--mix", "put=1", "--count", "1", "--keys", "1", "--prefix", "z"],
            only_of,
        )["srv_all"]
        report.row(name, memory["rss_mb"], "MB", must, goal, pss_mb=memory["pss_mb"], processes=memory["procs"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cases whose name holds this text (and the fill before them)")
    parser.add_argument("--port-base", type=int, default=22000)
    parser.add_argument("--keep", action="store_true", help="keep the cluster's directory")
    parser.add_argument("--out", default="benchmarks/out")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of the cluster; may be repeated")
    arguments = parser.parse_args()
    raw = RawServer(arguments.port_base + 990)
    directory = Path(tempfile.mkdtemp(prefix="objstore-bench-"))
    try:
        settings = [word for text in arguments.set for word in ("--set", text)]
        cluster = ctl(directory, "up", "--nodes", "3", "--proxies", "1", "--port-base", str(arguments.port_base), *settings)
        costs = {kind: raw.cost_us(kind) for kind in ("put", "get")}
        print(f"raw server: PUT 4 KiB {costs['put']:.1f} us, GET 4 KiB {costs['get']:.1f} us; budgets scale by its PUT beside each row")
        report = Report()
        measure(directory, arguments.only, report, cluster, raw)
    finally:
        raw.stop()
        subprocess.run([*OBJSTORE, "ctl", "--dir", str(directory), "down"], capture_output=True, timeout=60, check=False)
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    path = Path(arguments.out) / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    facts = {
        "commit": commit,
        "python": platform.python_version(),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }
    path.write_text(json.dumps({**facts, "raw": costs, "rows": report.rows}, indent=1))
    short = [row["name"] for row in report.rows if row["verdict"] == "SHORT"]
    print(f"\nkept in {path}; short of the budget: {', '.join(short) or 'nothing'}")
    scaled_short = [row["name"] for row in report.rows if row["scaled"] == "SHORT"]
    print(f"short of it scaled: {', '.join(scaled_short) or 'nothing'}")


if __name__ == "__main__":
    main()
