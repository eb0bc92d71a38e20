"""Racing conditional creates, and listings right after acknowledged changes through the other proxy, while nodes are killed."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.torture.harness import TRY_AGAIN, Cluster, Violation, retried, status_of


class Killer:
    """kill -9 of one storage node at a time, at random; the supervisor starts it again within 3 s."""

    def __init__(self, cluster: Cluster, *, every_s: float = 4.0, seed: int = 1) -> None:
        self.kills = 0
        self._cluster = cluster
        self._every_s = every_s
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Killer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s * self._rng.uniform(0.6, 1.4)):
            self._cluster.kill(f"node{self._rng.randrange(1, 4)}")
            self.kills += 1


def one_winner(directory: Path, *, rounds: int, port_base: int, contenders: int = 16) -> str:
    """`contenders` racing PUTs with If-None-Match: * over both proxies: exactly one 200 (or the one whose outcome was unknown) each time."""
    cluster = Cluster(directory, port_base=port_base)
    cluster.up()
    unknown_rounds = 0
    try:
        retried(lambda: cluster.s3().create_bucket(Bucket="race"))
        clients = [cluster.s3(i % 2) for i in range(contenders)]
        with Killer(cluster) as killer, ThreadPoolExecutor(contenders) as pool:
            for number in range(rounds):
                key = f"r{number:05d}"
                barrier = threading.Barrier(contenders)

                def contend(index: int, key: str = key, barrier: threading.Barrier = barrier) -> tuple[int, bool]:
                    """(200 or 412, whether an earlier attempt of this contender may have taken effect)"""
                    barrier.wait(30)
                    maybe = False
                    for _ in range(100):
                        try:
                            clients[index].put_object(Bucket="race", Key=key, Body=f"{index}".encode(), IfNoneMatch="*")
                        except TRY_AGAIN as failure:
                            if status_of(failure) == 412:
                                return 412, maybe
                            # 409: somebody got in between, and an earlier round of ours may have been carried on; 5xx or a lost connection: as well
                            maybe = True
                            time.sleep(0.05)
                        else:
                            return 200, maybe
                    return 0, maybe

                outcomes = list(pool.map(contend, range(contenders)))
                winners = [i for i, (status, _) in enumerate(outcomes) if status == 200]
                unknown = [i for i, (status, maybe) in enumerate(outcomes) if status != 200 and maybe]
                found = int(retried(lambda key=key: clients[0].get_object(Bucket="race", Key=key)["Body"].read()))  # type: ignore[misc]
                if len(winners) > 1 or (winners and found != winners[0]) or (not winners and found not in unknown):
                    raise Violation(f"{key}: outcomes {outcomes}, but the object is that of {found}")
                unknown_rounds += not winners
                if number % 100 == 99:
                    print(
                        f"{number + 1}/{rounds} races, {killer.kills} kills, {unknown_rounds} won by a write of unknown outcome", flush=True
                    )
            kills = killer.kills
    finally:
        cluster.down()
    return f"{rounds} races of {contenders}, {kills} kills, one winner each"


def listing_is_right(directory: Path, *, keys: int, port_base: int) -> str:
    """After each acknowledged PUT or DELETE through one proxy the other's listing shows it."""
    cluster = Cluster(directory, port_base=port_base)
    cluster.up()
    checked = 0
    try:
        retried(lambda: cluster.s3().create_bucket(Bucket="lists"))
        with Killer(cluster) as killer, ThreadPoolExecutor(8) as pool:

            def work(lane: int) -> int:
                rng = random.Random(lane)
                writer, reader = cluster.s3(lane % 2), cluster.s3((lane + 1) % 2)
                done = 0
                for number in range(keys // 8):
                    key = f"{lane}/{rng.randrange(1 << 30):08x}-{number:05d}"
                    if not _acknowledged(lambda key=key: writer.put_object(Bucket="lists", Key=key, Body=b"x")):  # type: ignore[misc]
                        continue
                    _expect(reader, key, present=True)
                    done += 1
                    if rng.random() < 0.4 and _acknowledged(lambda key=key: writer.delete_object(Bucket="lists", Key=key)):  # type: ignore[misc]
                        _expect(reader, key, present=False)
                        done += 1
                return done

            checked = sum(pool.map(work, range(8)))
            kills = killer.kills
    finally:
        cluster.down()
    return f"{checked} listings right after a change through the other proxy, {kills} kills, all right"


def _acknowledged(call: object) -> bool:
    try:
        call()  # type: ignore[operator]
    except TRY_AGAIN:
        time.sleep(0.05)
        return False
    return True


def _expect(reader: object, key: str, *, present: bool) -> None:
    page = retried(lambda: reader.list_objects_v2(Bucket="lists", Prefix=key))  # type: ignore[attr-defined]
    if bool(page.get("KeyCount")) != present:
        raise Violation(f"{key}: {'missing from' if present else 'still in'} the listing of the other proxy")
