import pytest

from objstore.core.multipart import PartRecord, UploadRecord
from objstore.core.rows import Kind, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import QuorumLost
from objstore.objects import parts
from objstore.objects.api import CompletedPart, ListQuery
from objstore.objects.buckets import tombstone_row
from objstore.objects.parts import (
    attempts_of,
    claimed_attempts,
    drop_attempts,
    drop_rows,
    encode_record,
    part_owner,
    sweep_bucket,
    upload_record,
    versions_of,
)
from tests.support.store_rig import ALICE, Rig, with_rig


def row(kind: Kind, record: bytes) -> Row:
    return Row(kind=kind, operation=b"", origin=ZERO, base=ZERO, modified_us=0, record=record)


def test_records_come_back_as_they_were() -> None:
    upload = UploadRecord(record_version=1, checksum_algorithm="crc32", checksum_type="COMPOSITE", declared=True, completing=b"m")
    assert upload_record(row(Kind.UPLOAD, encode_record(upload))) == upload
    assert upload_record(tombstone_row()) is None
    assert upload_record(None) is None
    assert part_owner(row(Kind.PART, encode_record(PartRecord(record_version=1, key=b"k")))) == b"k"


def test_records_of_the_first_version_still_decode() -> None:
    first = bytes.fromhex("9501a563726333 32a9434f4d504f53495445c3c4016d".replace(" ", ""))
    assert upload_record(row(Kind.UPLOAD, first)) == UploadRecord(1, "crc32", "COMPOSITE", declared=True, completing=b"m")
    older = bytes.fromhex("9401a563726333 32a9434f4d504f53495445c3".replace(" ", ""))  # without the last field
    assert upload_record(row(Kind.UPLOAD, older)) == UploadRecord(1, "crc32", "COMPOSITE", declared=True)


def test_all_attempts_of_one_upload_are_found_over_many_pages() -> None:
    async def test(rig: Rig) -> None:
        first, _ = await rig.upload("k", [b"1", b"2", b"3"])
        await rig.upload("k", [b"other"])
        await rig.part("k", first, 2, b"again")
        rig.cluster.page_limit = 1
        bucket = await rig.id()
        assert sorted([a.row.size async for a in attempts_of(rig.cluster, bucket, first)]) == [1, 1, 1, 5]
        assert [a.row.size async for a in attempts_of(rig.cluster, bucket, first, after=2)] == [1]

    with_rig(test)


def test_many_rows_are_dropped_and_a_failure_is_told() -> None:
    async def test(rig: Rig) -> None:
        for i in range(40):
            await rig.put(f"k{i}")
        bucket = await rig.id()
        keys = [RowKey(bucket, Space.OBJECTS, b"k%d" % i) for i in range(40)]
        assert await drop_rows(rig.cluster, keys[:30], 0) == 30
        assert await drop_rows(rig.cluster, [], 0) == 0

        async def fail(what: str, key: RowKey) -> None:
            if key.name == b"k35":
                raise QuorumLost("too few")

        rig.cluster.before = fail
        with pytest.raises(QuorumLost):
            await drop_rows(rig.cluster, keys[30:], 0)

    with_rig(test)


def test_a_swept_bucket_has_nothing_left() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"x" * 9000)
        await rig.upload("k", [b"y" * 9000, b"z"])
        bucket = await rig.id()
        rig.cluster.page_limit = 1
        assert await sweep_bucket(rig.cluster, bucket, 0) == 4
        assert rig.registers.blobs == {}
        assert await sweep_bucket(rig.cluster, bucket, 0) == 0

    with_rig(test)


def test_a_key_with_many_versions_is_swept_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "REMOVED_AT_ONCE", 3)

    async def test(rig: Rig) -> None:
        await rig.put("a")
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        for _ in range(10):
            await rig.put("a", b"x" * 9000)
            await rig.put("b")
        bucket = await rig.id()
        assert next(row.version for row in [row async for row in versions_of(rig.cluster, bucket, b"a")]) == ""
        assert await sweep_bucket(rig.cluster, bucket, 0) >= 6
        assert rig.registers.blobs == {}
        assert (await rig.store.list_versions(ALICE, rig.bucket, ListQuery())).objects == []

    with_rig(test)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_versions_of_a_key_are_its_own_alone(limit: int) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        for key in ("k", "k", "k", "k/2", "k/2", "j", "j"):
            await rig.put(key)
        rig.cluster.page_limit = limit
        versions = [row.version async for row in versions_of(rig.cluster, await rig.id(), b"k")]
        assert len(versions) == 3  # the head is among them
        assert versions == sorted(versions, reverse=True)

    with_rig(test)


def test_a_part_uploaded_without_end_takes_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held of an upload grows with the list of the client, not with what was uploaded under its numbers."""
    monkeypatch.setattr(parts, "DROPS_MOST", 30)
    monkeypatch.setattr(parts, "DROPS_TOGETHER", 7)

    async def test(rig: Rig) -> None:
        upload, _ = await rig.upload("k", [b"1", b"2"])
        for number in range(50):
            await rig.part("k", upload, 1, b"%d" % (number % 5))
        etags = {part.number: part.etag for part in (await rig.store.list_parts(ALICE, "photos", "k", upload)).parts}
        assert len(etags) == 2
        bucket = await rig.id()
        found, seen = await claimed_attempts(
            rig.cluster, bucket, upload, [CompletedPart(number, etag, {}) for number, etag in etags.items()]
        )
        assert sorted(stored.row.etag for stored in found) == sorted(etags.values())
        assert len(seen) == 30
        await drop_attempts(rig.cluster, bucket, upload, 0)
        assert [a async for a in attempts_of(rig.cluster, bucket, upload)] == []

    with_rig(test)
