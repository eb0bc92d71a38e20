import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.core.rows import Kind, Register, RowKey
from objstore.core.timestamp import ZERO
from objstore.errors import ObjstoreError
from objstore.node.app import NodeApp
from objstore.wire import messages as m
from tests.support.nodes import Nodes, ballot, config, key, row
from tests.support.wires import Site, run

REQUESTS = [kind for kind in m.TYPES.values() if issubclass(kind, m.Request)]
ROWS = [
    *(row(number, b"x" * number) for number in range(1, 4)),
    row(8, kind=Kind.TOMBSTONE),
    row(9, blob=b"b" * 16, size=3),
    row(10, blob=b"zz", size=5),
    row(11, blob=b"c" * 16, size=-4),
    row(12, b"xx", size=9),
    row(13, b"x", version=ballot(3).hex()),
    row(14, b"x", version="zz"),
    row(15, kind=Kind.TOMBSTONE, version=ballot(3).hex()),
    row(16, effects=(row(16, kind=Kind.TOMBSTONE, version=ballot(3).hex()), b"junk")),
    row(17, b"x", version=ballot(17).hex(), effects=(row(17, kind=Kind.TOMBSTONE, version=ballot(3).hex()),)),
    row(18, b"x", version=ballot(18).hex(), effects=(row(18, b"x", version=ballot(3).hex()), row(18, kind=Kind.TOMBSTONE))),
    b"",
    b"junk",
]
KEYS = [
    key("a"),
    key("b"),
    RowKey(b"", 0, b""),
    RowKey(b"bucket01", -1, b"x"),
    RowKey(b"bucket01", 300, b"x"),
    RowKey(b"bucket01", 7, b"y" * 2000),
    RowKey(b"bucket01", 0, b"a", b"v"),
    RowKey(b"bucket01", 0, b"a", ballot(3)),
    RowKey(b"bucket01", 3, b"a", ballot(3)),
    RowKey(b"bucket01", 3, b"a"),
]
BALLOTS: list[Any] = [ballot(1), ballot(5), ZERO, b"", b"\xff" * 12, b"z" * 13]
NUMBERS = [0, 1, 100, -1, -2, 1 << 50, 1 << 62]
TEXTS = [b"", b"a", b"/", b"z" * 3000, b"\xff" * 8]
VALUES: dict[str, Any] = {
    "partition": lambda rng: rng.choice([0, 1, 2, 3, -1, 4, 1 << 40]),
    "key": lambda rng: rng.choice(KEYS),
    "row": lambda rng: rng.choice(ROWS),
    "register": lambda rng: Register(rng.choice(BALLOTS), rng.choice(BALLOTS), rng.choice(ROWS)),
    "sources": lambda rng: tuple(rng.choices([0, 1, 2, 9, -1], k=rng.randrange(3))),
    "partitions": lambda rng: rng.choices([0, 1, 2, 3, -1, 9], k=rng.randrange(4)),
    "items": lambda rng: [m.PartitionRow(rng.choice(KEYS), Register(ZERO, rng.choice(BALLOTS)))],
    "bucket": lambda rng: rng.choice([b"bucket01", b"", b"x" * 100]),
    "more": lambda rng: rng.choices([b"bucket01", b"bucket02", b"", b"x" * 100], k=rng.randrange(3)),
    "what": lambda rng: rng.choice(["checkpoint", "compact", "purge", "sweep_staged", "x"]),
    "blob": lambda rng: rng.choice([b"b" * 16, b"", b"/" * 16]),
    "content": lambda rng: rng.choice([b"", b"b" * 16, b"x"]),
    "below": lambda rng: rng.choice([b"", ballot(4), b"x"]),
    **dict.fromkeys(["ballot", "origin", "floor"], lambda rng: rng.choice(BALLOTS)),
    **dict.fromkeys(["has_payload", "handoff", "inline", "rows", "versions", "torn", "stored"], lambda rng: rng.random() < 0.5),
    **dict.fromkeys(["prefix", "start", "delimiter", "cursor", "start_version"], lambda rng: rng.choice([*TEXTS, ballot(3)])),
    **dict.fromkeys(["space", "limit", "budget_bytes", "offset", "length", "size"], lambda rng: rng.choice(NUMBERS)),
}


async def _ask(nodes: Nodes, rng: random.Random) -> None:
    kind = rng.choice(REQUESTS)
    fields = {name: VALUES[name](rng) for name in kind.__struct_fields__[4:]}
    if kind is m.StageBody:
        upload = await (await nodes.channel(0)).open_upload(nodes.request(kind, 0, **fields), timeout_s=5)
        await upload.write(b"abc")
        await upload.finish()
    elif kind is m.ReadBody:
        download = await (await nodes.channel(0)).open_download(nodes.request(kind, 0, **fields), timeout_s=5)
        assert sum([len(piece) async for piece in download]) == download.begin.length
    else:
        await nodes.ask(kind, rng.choice([0, 0, 1]), rng.choice([b"", b"x", b"xx"]), timeout_s=5, **fields)


async def _storm(site: Site) -> None:
    rng = random.Random(site.fabric.rng.random())
    nodes = await Nodes.start(site)
    told: list[str] = []

    async def one() -> None:
        try:
            await _ask(nodes, rng)
        except ObjstoreError as failure:
            told.append(failure.message)

    for _ in range(15):
        await asyncio.gather(*(one() for _ in range(8)))
    assert [message for message in told if "in the log" in message] == []
    before = (await nodes.apps[0].report()).devices[0]
    assert (before.state, before.detail) == ("up", "")
    await nodes.apps[0].stop()
    nodes.apps[0] = await NodeApp.start(site.world, config(0))
    after = (await nodes.apps[0].report()).devices[0]
    assert (after.state, after.detail, after.rows) == ("up", "", before.rows)
    await nodes.stop()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000))
def test_no_request_however_odd_is_a_bug_or_takes_a_device_out_of_service(seed: int) -> None:
    run(_storm, seed=seed)


def test_every_field_of_every_request_is_drawn() -> None:
    assert {name for kind in REQUESTS for name in kind.__struct_fields__[4:]} <= VALUES.keys()
    with pytest.raises(KeyError):
        VALUES["epoch"]
