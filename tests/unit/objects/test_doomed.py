"""Deletions to come: kept in records of a bounded size, the oldest first."""

import itertools

from objstore.objects.doomed import RECORD_BYTES, RECORD_VERSION, Doomed, doom, doomed_rows, forget
from tests.support.store_rig import Rig, with_rig


def test_many_long_names_take_several_records_and_come_back_in_order() -> None:
    async def test(rig: Rig) -> None:
        keys = [f"{number:04d}" + "ü" * 500 for number in range(400)]
        tokens = (number.to_bytes(8, "big") for number in itertools.count())
        await doom(rig.cluster, Doomed(RECORD_VERSION, "alice", "photos", b"12345678", 2000, keys), tokens)
        await doom(rig.cluster, Doomed(RECORD_VERSION, "alice", "photos", b"12345678", 1000, ["first"]), tokens)
        found, start = await doomed_rows(rig.cluster, b"", 100)
        assert start is None
        assert [key for row in found for key in row.doomed.keys] == ["first", *keys]
        assert len(found) == 5
        assert all(sum(len(key.encode()) for key in row.doomed.keys) <= RECORD_BYTES for row in found)
        await forget(rig.cluster, found[0])
        assert len((await doomed_rows(rig.cluster, b"", 100))[0]) == 4

    with_rig(test)
