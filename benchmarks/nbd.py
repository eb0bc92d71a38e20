"""How fast a volume is over NBD: `python -m benchmarks.nbd [--port-base N]`.

fio reads and writes a volume of a real cluster (3 nodes, 2 proxies) through a Unix socket, and the same of nbdkit's memory plugin,
the baseline: what fio and the socket allow on this machine.  Beside operations a second of the clock it shows operations a second of the
server's CPU: what one core would do that had nothing else to do.  The aims are for a warm cache and one core.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.__main__ import ctl
from tests.support.cluster import free_port_base
from tests.support.nbd import VolumeCommands, need_tools, serving

SIZE = "192m"  # fits into what the process keeps in memory
TICKS = os.sysconf("SC_CLK_TCK")

# name, fio's arguments, unit, aim
CASES: list[tuple[str, list[str], str, float]] = [
    ("random read 4 KiB, depth 32", ["--rw=randread", "--bs=4k", "--iodepth=32"], "IOPS", 50_000),
    ("random read 4 KiB, depth 1", ["--rw=randread", "--bs=4k", "--iodepth=1"], "IOPS", 0),
    ("sequential read 1 MiB, depth 8", ["--rw=read", "--bs=1m", "--iodepth=8"], "MB/s", 1000),
    ("random write 4 KiB, depth 32", ["--rw=randwrite", "--bs=4k", "--iodepth=32"], "IOPS", 0),
    ("random write 4 KiB, a flush after each 8", ["--rw=randwrite", "--bs=4k", "--iodepth=32", "--fsync=8"], "IOPS", 0),
    ("sequential write 1 MiB, depth 8", ["--rw=write", "--bs=1m", "--iodepth=8"], "MB/s", 0),
]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fio(uri: str, arguments: list[str], seconds: float, directory: Path) -> dict[str, Any]:
    command = ["fio", "--name=b", "--ioengine=nbd", f"--uri={uri}", f"--size={SIZE}", "--randrepeat=1", "--output-format=json", *arguments]
    if seconds:
        command += ["--time_based", f"--runtime={seconds:g}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, timeout=600)
    if done.returncode:
        raise SystemExit(f"fio failed: {done.stdout[-1000:]} {done.stderr[-1000:]}")
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    found: dict[str, Any] = max(job["read"], job["write"], key=lambda side: side["total_ios"])
    return found


def measure(name: str, uri: str, pid: int, arguments: list[str], unit: str, aim: float, seconds: float, directory: Path) -> dict[str, Any]:
    before = cpu_s(pid)
    found = fio(uri, arguments, seconds, directory)
    cpu = max(cpu_s(pid) - before, 1e-9)
    amount = found["total_ios"] if unit == "IOPS" else found["io_bytes"] / 1e6
    row = {
        "name": name, "unit": unit, "by_clock": amount / (found["runtime"] / 1000), "by_cpu": amount / cpu, "aim": aim,
        "p99_us": found["clat_ns"].get("percentile", {}).get("99.000000", 0) / 1000,
    }  # fmt: skip
    verdict = "" if not aim else "ok" if row["by_cpu"] >= aim else "SHORT"
    print(
        f"{name:44}{row['by_clock']:>12,.0f} {row['by_cpu']:>12,.0f} {unit:6}{aim or '':>10}  {verdict:6}{row['p99_us']:>10,.0f}",
        flush=True,
    )
    return row


def baseline(directory: Path, seconds: float) -> None:
    print("\nbaseline: nbdkit, memory plugin")
    socket = directory / "nbdkit.sock"
    server = subprocess.Popen(["nbdkit", "-f", "-U", str(socket), "memory", "256M"])
    try:
        while not socket.exists():
            time.sleep(0.05)
        fio(f"nbd+unix:///?socket={socket}", ["--rw=write", "--bs=1m"], 0, directory)
        for name, arguments, unit, _ in CASES:
            measure(name, f"nbd+unix:///?socket={socket}", server.pid, arguments, unit, 0, seconds, directory)
    finally:
        server.terminate()
        server.wait()


def volume(directory: Path, port_base: int, seconds: float, chunk_size: str) -> None:
    cluster = directory / "c"
    ctl(cluster, "up", "--port-base", str(port_base))
    try:
        commands = VolumeCommands(cluster)
        made = commands("create", "--size", "256M", "--chunk-size", chunk_size)
        with serving(commands, directory / "s", made["id"]) as server:
            assert server.process is not None
            print(f"\nvolume, chunks of {chunk_size}")
            begun = time.monotonic()
            fio(server.uri(), ["--rw=write", "--bs=1m", "--end_fsync=1"], 0, directory)
            while commands("show", made["id"])["generation"] < 2:
                time.sleep(0.2)
            print(f"filled; first commit after {time.monotonic() - begun:.1f} s")
            for name, arguments, unit, aim in CASES:
                time.sleep(6)  # so that what the case before left is in the store
                measure(name, server.uri(), server.process.pid, arguments, unit, aim, seconds, directory)
    finally:
        ctl(cluster, "down")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-base", type=int, default=0, help="default: one that is free")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--chunk-size", default="128K")
    arguments = parser.parse_args()
    need_tools("fio", "nbdkit")
    directory = Path(tempfile.mkdtemp(prefix="objstore-nbd-"))
    try:
        print(f"{'':44}{'by clock':>12} {'by CPU':>12} {'':6}{'aim':>10}  {'':6}{'p99 us':>10}")
        baseline(directory, arguments.seconds)
        volume(directory, arguments.port_base or free_port_base(), arguments.seconds, arguments.chunk_size)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
