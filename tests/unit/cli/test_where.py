"""`where`: each device's own word about a register, also where they differ or do not answer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from objstore.cli.requests import FindCopies
from objstore.cli.where import find
from objstore.core.placement import Placement
from objstore.core.rows import BodyKind, BucketId, Kind, PartRef, Register, Row, RowKey, Space, encode_row
from objstore.core.timestamp import Ballot, ballot_at
from objstore.errors import InvalidArgument, NodeUnreachable, NoSuchBucket
from objstore.objects.api import BucketInfo, Principal
from objstore.objects.buckets import Bucket, BucketRecord, record_row
from objstore.wire.messages import Locate, Located
from ring import builder
from ring.model import Device, RingSpec

BALLOT = ballot_at(5 << 12, 1)


def _row(**change: Any) -> Row:
    return Row(
        **{
            "kind": Kind.OBJECT,
            "operation": b"o" * 16,
            "origin": BALLOT,
            "base": BALLOT,
            "modified_us": 5,
            "size": 3,
            "etag": "e",
            **change,
        }
    )


class Fleet:
    """Answers Locate from a table of device id -> register, or raises."""

    def __init__(self, answers: dict[int, Located | Exception]) -> None:
        devices = [
            Device(
                id=n, node=f"node{n + 1}", address=f"tcp:127.0.0.1:{n + 1}", region="r", zone=f"z{n}", weight=1.0, incarnation=bytes([n + 1] * 8),
                path=f"/c/node{n + 1}/d1",
            )
            for n in range(4)
        ]  # fmt: skip
        spec = RingSpec(policy="default", replica_count=3, part_power=4, hash_seed=1, min_part_hours=0.0, overload=1.0)
        self.ring = builder.create(spec, devices)
        self.answers = answers
        self.asked: list[RowKey] = []

    async def ask(self, request: type, kind: type, device: int, *, epoch: int, timeout_s: float, key: RowKey) -> Located:
        assert (request, kind, epoch) == (Locate, Located, self.ring.epoch)
        self.asked.append(key)
        answer = self.answers.get(device, Located(Register()))
        if isinstance(answer, Exception):
            raise answer
        return answer


class Directory:
    """Knows one bucket, in tenant "two", and the containers of a cluster by their accounts."""

    def __init__(self, cluster: "Cluster | None") -> None:
        self.cluster = cluster

    async def find(self, who: Principal, name: str) -> Bucket:
        if self.cluster is not None and (who.account, name) in self.cluster.held:
            info = BucketInfo(id=BucketId(b"c" * 8), name=name, account=who.account, created_us=0)
            return Bucket(info=info, id=b"c" * 8, spread=0, account=who.account, fresh_until=0.0)
        if who.tenant != "two" or name != "photos":
            raise NoSuchBucket(bucket=name)
        info = BucketInfo(id=BucketId(b"b" * 8), name=name, account="a", created_us=0)
        return Bucket(info=info, id=b"b" * 8, spread=0, account="a", fresh_until=0.0)


class Cluster:
    """Holds records of containers that no tenant's claim names."""

    def __init__(self, *held: tuple[str, str]) -> None:
        self.held = held

    async def scan(self, *_: object, **__: object) -> SimpleNamespace:
        records = [BucketRecord(1, b"c" * 8, name, account, 0) for account, name in self.held]
        return SimpleNamespace(rows=[SimpleNamespace(row=record_row(msgspec.msgpack.encode(r))) for r in records], next_start=None)


def _find(fleet: Fleet, key: str = "a/b", *, bucket: str = "photos", cluster: Cluster | None = None) -> dict[str, Any]:
    asked = FindCopies(bucket=bucket, key=key, tenants=["one", "two"])
    return asyncio.run(find(Directory(cluster), cluster or Cluster(), fleet, asked))  # type: ignore[arg-type] # stand in for all of them


def test_each_device_speaks_for_itself() -> None:
    held = Register(accepted=BALLOT, row=encode_row(_row()))
    tombstone = Register(promised=Ballot(b"\xff" * 12), accepted=BALLOT, row=encode_row(_row(kind=Kind.TOMBSTONE)))
    fleet = Fleet({0: Located(held, "packs/1", 10, 3), 1: Located(tombstone), 2: NodeUnreachable("it is gone")})
    found = _find(fleet)
    by_device = {r["device"]: r for r in [*found["primaries"], *found["handoffs"]]}
    assert len(by_device) == 4
    assert len(found["primaries"]) == 3
    assert by_device[0] | {"state": "object", "file": "/c/node1/d1/packs/1", "offset": 10, "length": 3, "etag": "e"} == by_device[0]
    assert by_device[0]["accepted"] == BALLOT.hex()
    assert (by_device[1]["state"], by_device[1]["file"], by_device[1]["promised"]) == ("tombstone", None, "ff" * 12)
    assert (by_device[2]["state"], by_device[2]["detail"]) == ("NodeUnreachable", "it is gone")
    assert by_device[3]["state"] == "absent"
    assert found["partition"] == Placement(fleet.ring).partition(RowKey(b"b" * 8, Space.OBJECTS, b"a/b"), 0)


def test_a_row_without_a_time_of_its_own_has_that_of_its_ballot() -> None:
    fleet = Fleet({0: Located(Register(accepted=BALLOT, row=encode_row(_row(modified_us=0))))})
    found = _find(fleet)
    assert [r["timestamp"] for r in [*found["primaries"], *found["handoffs"]] if r["state"] == "object"] == [5]


def test_a_manifest_names_its_parts() -> None:
    part = PartRef(space=2, name=b"u/00001", size=3, etag="p", origin=BALLOT, number=1)
    fleet = Fleet({n: Located(Register(accepted=BALLOT, row=encode_row(_row(body=BodyKind.MANIFEST, parts=(part,))))) for n in range(4)})
    assert _find(fleet)["primaries"][0]["parts"] == [{"number": 1, "name": "u/00001", "size": 3, "etag": "p"}]


def test_a_bucket_that_nobody_has_is_refused() -> None:
    with pytest.raises(NoSuchBucket, match="other"):
        _find(Fleet({}), bucket="other")


def test_a_container_that_has_no_name_in_a_tenant_is_found_by_its_own() -> None:
    found = _find(Fleet({}), bucket="cont", cluster=Cluster(("acme", "cont"), ("acme", "x")))
    assert (found["account"], found["bucket"], found["key"], found["bucket_id"]) == ("acme", "cont", "a/b", (b"c" * 8).hex())


def test_a_container_that_two_accounts_have_is_meant_by_its_account() -> None:
    cluster = Cluster(("acme", "cont"), ("other", "cont"))
    with pytest.raises(InvalidArgument, match="acme/cont, other/cont"):
        _find(Fleet({}), bucket="cont", cluster=cluster)
    found = _find(Fleet({}), "cont/a/b", bucket="other", cluster=cluster)
    assert (found["account"], found["bucket"], found["key"]) == ("other", "cont", "a/b")
