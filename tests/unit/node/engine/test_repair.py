from typing import Any

import pytest

from objstore.core.timestamp import ZERO
from objstore.node.engine.keys import encode_key
from objstore.node.engine.repair import Searched, search
from objstore.wire.messages import PartitionRow
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, key, put

LONG = "x" * 700


def look(rig: SimRig, name: str) -> Searched:
    packs = rig.engine._device.packs
    return search(packs, sorted(packs.sizes.items()), encode_key(key(name)))


@pytest.fixture
def rig() -> SimRig:
    return SimRig(settings=SMALL)


def test_a_search_finds_the_last_state_with_its_promise(rig: SimRig) -> None:
    for number in (1, 2, 3):
        rig.run(lambda number=number: put(rig.engine, "k", number, b"x" * 9000))
        rig.run(lambda number=number: put(rig.engine, LONG, number, b"x" * 9000))
    rig.run(lambda: rig.engine.prepare(key("k"), partition=0, ballot=ballot(7)))
    found = look(rig, "k").entry
    assert found is not None
    assert found == rig.engine._state.get(encode_key(key("k")))
    assert found.promised == ballot(7)
    assert look(rig, LONG).entry == rig.engine._state.get(encode_key(key(LONG)))
    assert len(rig.engine._device.packs.sizes) > 1


def test_a_search_finds_nothing_of_what_was_dropped_or_never_was(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    register = rig.engine.query(key("k"), partition=0)
    rig.run(lambda: rig.engine.drop([PartitionRow(key("k"), register)], partition=0))
    assert look(rig, "k") == Searched(None, holes=False)
    assert look(rig, "never") == Searched(None, holes=False)
    rig.run(lambda: put(rig.engine, "k", 2, b"x"))
    assert look(rig, "k").entry is not None


def test_a_search_steps_over_damaged_records_and_says_so(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "first", 1, b"x"))
    rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    data: Any = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"].data
    data[70] ^= 1  # in the record of "first"
    found = look(rig, "k")
    assert found.holes
    assert found.entry is not None
    assert look(rig, "first") == Searched(None, holes=True)


def test_what_cannot_be_found_in_a_damaged_journal_is_lost_and_takes_what_others_hold(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"x", partition=2))
    rig.run(lambda: rig.engine.prepare(key("other"), partition=2, ballot=ballot(50)))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    tables = rig.host.storage.volume(DIRECTORY)[0].kv_stores["index-1"].tables
    index_key = encode_key(key("k"))
    before = rig.engine.query(key("k"), partition=2)
    for table in ("rows", "partitions"):
        at = next(k for k in tables[table] if k.endswith(index_key))
        tables[table][at] = tables[table][at][:-1] + b"?"
    data: Any = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"].data
    data[70] ^= 1
    rig.run(lambda: rig.engine.audit(b"", budget_bytes=1 << 30))
    assert index_key in rig.engine._state.lost
    assert rig.run(lambda: rig.engine.merge(key("k"), partition=2, register=before, payload=b"x", floor=ZERO))
    healed = rig.engine.query(key("k"), partition=2)
    assert healed.accepted == before.accepted
    assert healed.promised == ballot(50)  # nothing that was promised here can have been higher
