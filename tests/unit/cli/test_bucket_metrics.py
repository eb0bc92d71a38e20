"""What buckets hold, up to a limit, and nothing where the cluster does not say it."""

import asyncio
from types import SimpleNamespace

import msgspec

from objstore.cli.bucket_metrics import Held, held_by_buckets
from objstore.core.quota import Holdings
from objstore.errors import QuorumLost
from objstore.objects.buckets import BucketRecord, record_row


class Cluster:
    """Three buckets, one of which is being deleted."""

    def __init__(self, *, well: bool = True) -> None:
        self.well = well
        self.asked: list[bytes] = []

    async def scan(self, *_: object, **__: object) -> SimpleNamespace:
        records = [
            BucketRecord(1, name.encode(), name, "acme", 0, state=state) for name, state in (("a", "live"), ("b", "gone"), ("c", "live"))
        ]
        return SimpleNamespace(rows=[SimpleNamespace(row=record_row(msgspec.msgpack.encode(r))) for r in records], next_start=None)

    async def holdings_of(self, buckets: list[bytes]) -> list[Holdings]:
        if not self.well:
            raise QuorumLost("nobody answers")
        self.asked += buckets
        return [Holdings(len(self.asked), 100, 1, 10, 2, 330) for _ in buckets]


def test_objects_and_all_their_bytes_are_told_of_each_bucket() -> None:
    found = asyncio.run(held_by_buckets(Cluster(), 10))  # type: ignore[arg-type]
    assert found == [Held("acme", "a", 2, 110), Held("acme", "c", 2, 110)]


def test_no_more_than_the_limit_are_asked_about_and_none_without_one() -> None:
    cluster = Cluster()
    assert len(asyncio.run(held_by_buckets(cluster, 1))) == 1  # type: ignore[arg-type]
    assert list(asyncio.run(held_by_buckets(cluster, 0))) == []  # type: ignore[arg-type]
    assert cluster.asked == [b"a"]


def test_a_cluster_that_does_not_answer_has_no_such_samples() -> None:
    assert list(asyncio.run(held_by_buckets(Cluster(well=False), 10))) == []  # type: ignore[arg-type]
