"""Growing and shrinking under load, with a proxy that keeps the old ring; and bits flipped on the disks."""

import os
import random
import signal
import threading
import time
from pathlib import Path

from tests.torture.harness import Cluster, Violation, Writers, fetch_md5, retried, wait_until


def grow_and_shrink(directory: Path, *, port_base: int, stale_s: float) -> str:
    """Add a node, then drain and remove another, under load through both proxies; proxy2 is frozen over the change."""
    cluster = Cluster(directory, port_base=port_base)
    cluster.up()
    try:
        retried(lambda: cluster.s3().create_bucket(Bucket="move"))
        writers = Writers(cluster, "move", threads=4, keys=150)
        with writers:
            time.sleep(3)
            stale = cluster.pids()["proxy2"]
            os.kill(stale, signal.SIGSTOP)  # it wakes up with the old ring
            thaw = threading.Timer(stale_s, os.kill, (stale, signal.SIGCONT))
            thaw.start()
            before = _placement(cluster)
            cluster.ctl("add-node", timeout_s=300)
            _settled(cluster, 300)
            moved = _moved(before, _placement(cluster))
            thaw.join()
            time.sleep(2)
            cluster.ctl("drain", "node1", timeout_s=300)
            _settled(cluster, 300)
            cluster.ctl("remove", "node1", timeout_s=300)
            _settled(cluster, 300)
            time.sleep(2)
        for proxy in (0, 1):
            writers.check(cluster.s3(proxy))
        cluster.ctl("repair", "--wait", timeout_s=300)
        status = cluster.ctl("status")
        if not status["healthy"]:
            raise Violation(f"not healthy at the end: {status}")
        assert moved <= 1.2 * 0.25 * 1.05, f"adding a fourth equal node moved {moved:.1%} of the replicas; its share is 25 %"
    finally:
        cluster.down()
    return f"{writers.acknowledged} acknowledged writes over two ring changes, none lost; {moved:.1%} of replicas moved for the new node"


def _settled(cluster: Cluster, timeout_s: float) -> None:
    wait_until(lambda: not cluster.ctl("status").get("changing", False), timeout_s, "the ring change to be carried out")


def _placement(cluster: Cluster) -> dict[int, frozenset[int]]:
    from ring.files import load

    ring = load(str(cluster.directory / "ring" / "default.ring"))
    return {p: frozenset(ring.primaries(p)) for p in range(ring.partition_count)}


def _moved(before: dict[int, frozenset[int]], after: dict[int, frozenset[int]]) -> float:
    replicas = sum(len(devices) for devices in before.values())
    return sum(len(after[p] - before[p]) for p in before) / replicas


def bit_flips(directory: Path, *, flips: int, port_base: int, seed: int = 1) -> str:
    """Flip one bit in a random pack, blob or index page of one node at a time: never served, found by one audit, healed."""
    cluster = Cluster(directory, port_base=port_base, up_arguments=("--set", "engine.checkpoint_rows=200"))
    cluster.up()
    rng = random.Random(seed)
    hit = 0
    try:
        client = cluster.s3()
        retried(lambda: client.create_bucket(Bucket="flips"))
        writers = Writers(cluster, "flips", threads=4, keys=60, large_every=10)
        with writers:
            time.sleep(6)
        writers.check(client)
        batch = 25
        for start in range(0, flips, batch):
            node = f"node{rng.randrange(1, 4)}"
            cluster.ctl("stop", node)
            hit += sum(_flip(cluster.directory / node, rng) for _ in range(min(batch, flips - start)))
            cluster.ctl("start", node)
            retried(lambda: cluster.s3().list_buckets())
            for key, allowed in sorted(writers.allowed.items()):
                found = fetch_md5(client, "flips", key)
                if found not in allowed:
                    raise Violation(f"{key}: served {found or 'nothing'} for {sorted(allowed)} after flips on {node}")
            cluster.ctl("audit", "--wait", timeout_s=300)
            cluster.ctl("repair", "--wait", timeout_s=300)
            again = cluster.ctl("audit", "--wait", timeout_s=300)
            if not again.get("clean", again.get("finished")):
                raise Violation(f"a second audit still finds damage: {again}")
            print(f"{hit} flips, all healed", flush=True)
        writers.check(client)
    finally:
        cluster.down()
    return f"{hit} flipped bits: none served, all healed"


def _flip(node: Path, rng: random.Random) -> bool:
    files = [
        f for f in sorted(node.rglob("*")) if f.is_file() and f.stat().st_size > 64 and f.suffix not in (".toml", ".log", ".ring", ".lock")
    ]
    files = [f for f in files if "quarantine" not in f.parts and f.name not in ("lock.mdb", "identity")]
    weights = [f.stat().st_size for f in files]
    victim = rng.choices(files, weights)[0]
    position = rng.randrange(victim.stat().st_size)
    with victim.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << rng.randrange(8))]))
    return True
