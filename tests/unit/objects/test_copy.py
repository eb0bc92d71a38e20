import dataclasses
import json

import pytest

from objstore.core import checksums
from objstore.core.policy import Kind, parse_policy
from objstore.core.rows import RowKey
from objstore.errors import AccessDenied, BadDigest, InvalidRange, InvalidRequest, NoSuchBucket, NoSuchKey, NoSuchUpload, PreconditionFailed
from objstore.objects.api import Attributes, CompletedPart, Conditions, CopySource, Expected, Principal
from objstore.objects.context import ObjectSettings
from tests.support.store_rig import ALICE, BOB, Rig, noise, with_rig

SOURCE = CopySource("photos", "from")
WITH_ALL = Attributes(content_type="t/u", headers={"h": "1"}, metadata={"m": "2"}, tags={"t": "3"})


@pytest.mark.parametrize("size", [0, 100, 9000, 300_000])
def test_a_copy_has_the_bytes_and_what_was_said_about_them(size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        before = await rig.put("from", data, attributes=WITH_ALL)
        await rig.store.create_bucket(ALICE, "other")
        after = await rig.store.copy(ALICE, SOURCE, "other", "to")
        assert (after.key, after.etag, after.checksums) == ("to", before.etag, before.checksums)
        assert (after.content_type, after.headers, after.metadata, after.tags) == ("t/u", {"h": "1"}, {"m": "2"}, {"t": "3"})
        rig.bucket = "other"
        assert await rig.get("to") == data

    with_rig(test)


def test_attributes_tags_and_checksum_can_be_replaced_one_by_one() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x", attributes=WITH_ALL)
        replaced = await rig.store.copy(ALICE, SOURCE, "photos", "to", attributes=Attributes(content_type="new"))
        assert (replaced.content_type, replaced.metadata, replaced.tags) == ("new", {}, {"t": "3"})
        tagged = await rig.store.copy(ALICE, SOURCE, "photos", "to", tags={})
        assert (tagged.content_type, tagged.metadata, tagged.tags) == ("t/u", {"m": "2"}, {})
        digested = await rig.store.copy(ALICE, SOURCE, "photos", "to", checksum="sha256")
        assert digested.checksums == {"sha256": checksums.digest_of("sha256", b"x")}

    with_rig(test)


def test_a_copy_onto_itself_must_change_something() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x" * 9000, attributes=WITH_ALL)
        with pytest.raises(InvalidRequest):
            await rig.store.copy(ALICE, SOURCE, "photos", "from")
        info = await rig.store.copy(ALICE, SOURCE, "photos", "from", attributes=Attributes(metadata={"mtime": "1"}))
        assert info.metadata == {"mtime": "1"}
        assert await rig.get("from") == b"x" * 9000
        with pytest.raises(InvalidRequest):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", checksum="md4")

    with_rig(test)


def test_conditions_hold_for_the_source_and_for_the_destination() -> None:
    async def test(rig: Rig) -> None:
        info = await rig.put("from", b"x")
        with pytest.raises(PreconditionFailed):
            await rig.store.copy(ALICE, CopySource("photos", "from", conditions=Conditions(if_none_match=(info.etag,))), "photos", "to")
        await rig.store.copy(ALICE, CopySource("photos", "from", conditions=Conditions(if_match=(info.etag,))), "photos", "to")
        with pytest.raises(PreconditionFailed):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", conditions=Conditions(if_none_match=("*",)))

    with_rig(test)


def test_a_copy_needs_a_source_that_the_caller_may_read() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x")
        await rig.store.create_bucket(BOB, "bobs")
        for who, source, error in (
            (ALICE, CopySource("photos", "missing"), NoSuchKey),
            (ALICE, CopySource("nowhere", "from"), NoSuchBucket),
            (BOB, SOURCE, AccessDenied),
        ):
            with pytest.raises(error):
                await rig.store.copy(who, source, "photos" if who is ALICE else "bobs", "to")
        with pytest.raises(AccessDenied):
            await rig.store.copy(BOB, CopySource("bobs", "x"), "photos", "to")
        assert (await rig.store.copy(Principal(account="root", admin=True), SOURCE, "bobs", "to")).size == 1

    with_rig(test)


def test_a_multipart_object_is_copied_as_it_is_or_into_one_piece_for_another_checksum() -> None:
    async def test(rig: Rig) -> None:
        data = [noise(9000), noise(50)]
        for algorithm in ("", "sha256"):
            upload_id, parts = await rig.upload("from", data, checksum_algorithm=algorithm)
            made = await rig.complete("from", upload_id, parts)
            info = await rig.store.copy(ALICE, SOURCE, "photos", "to")
            assert (info.etag, info.part_count, info.checksums, info.checksum_type) == (made.etag, 2, made.checksums, made.checksum_type)
            assert await rig.get("to") == b"".join(data)
            assert await rig.get("to", part_number=2) == data[1]
            info = await rig.store.copy(ALICE, SOURCE, "photos", "to", checksum="sha256")
            whole = {"sha256": checksums.digest_of("sha256", b"".join(data))}
            assert (info.part_count, info.checksums, info.checksum_type) == (0, whole, "FULL_OBJECT")
            assert await rig.get("to") == b"".join(data)

    with_rig(test)


def test_damage_on_the_way_is_never_copied() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x" * 9000)
        row = await rig.row("from")
        assert row is not None
        rig.registers.blobs[row.blob] = b"y" * 9000
        with pytest.raises(BadDigest):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", checksum="sha1")
        assert await rig.row("to") is None

    with_rig(test)


def test_a_source_larger_than_one_copy_may_have_is_refused() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("from", [b"x" * 9000, b"y" * 9000])
        await rig.complete("from", upload_id, parts)
        with pytest.raises(InvalidRequest):
            await rig.store.copy(ALICE, SOURCE, "photos", "to")

    with_rig(test, settings=ObjectSettings(max_put_bytes=10_000, min_part_bytes=1))


def test_parts_are_copied_from_ranges() -> None:
    async def test(rig: Rig) -> None:
        data = noise(20_000)
        await rig.put("from", data)
        upload_id, _ = await rig.upload("to", [])
        made = []
        for number, (first, last) in enumerate([(0, 9999), (10_000, 19_998), (19_999, 19_999)], 1):
            source = CopySource("photos", "from", first=first, last=last)
            part = await rig.store.copy_part(ALICE, source, "photos", "to", upload_id, number)
            made.append(CompletedPart(part.number, part.etag))
        whole = await rig.store.copy_part(ALICE, SOURCE, "photos", "to", upload_id, 4)
        assert whole.size == 20_000
        await rig.complete("to", upload_id, made)
        assert await rig.get("to") == data

    with_rig(test)


@pytest.mark.parametrize(("first", "last"), [(0, 10), (10, 10), (5, 4), (11, 12)])
def test_part_ranges_must_lie_within_the_source(first: int, last: int) -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"0123456789")
        upload_id, _ = await rig.upload("to", [])
        with pytest.raises(InvalidRange):
            await rig.store.copy_part(ALICE, CopySource("photos", "from", first=first, last=last), "photos", "to", upload_id, 1)

    with_rig(test)


def test_a_part_is_copied_only_into_an_upload_that_is_there() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x")
        reads = rig.cluster.counts.get("read_body", 0)
        with pytest.raises(NoSuchUpload):
            await rig.store.copy_part(ALICE, SOURCE, "photos", "to", "0" * 32, 1)
        assert rig.cluster.counts.get("read_body", 0) == reads

    with_rig(test)


def test_the_reading_side_is_closed_when_the_writing_side_fails() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x" * 200_000)

        async def fail(what: str, key: RowKey) -> None:
            if what == "stage":
                raise PreconditionFailed("no")

        rig.cluster.before = fail
        with pytest.raises(PreconditionFailed):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", checksum="sha1")
        rig.cluster.before = None
        assert (await rig.put("to", b"y", expected=Expected())).size == 1

    with_rig(test)


def test_tags_are_taken_along_only_by_who_may_read_and_set_them() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x", attributes=WITH_ALL)
        await rig.put("bare", b"x")
        for actions, good in (
            (("s3:GetObject", "s3:PutObject"), False),
            (("s3:GetObject*", "s3:PutObject"), False),
            (("s3:*Object*",), True),
        ):
            statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            text = json.dumps({"Version": "2012-10-17", "Statement": statement})
            narrow = dataclasses.replace(ALICE, policies=(parse_policy(text.encode(), Kind.IDENTITY),))
            assert (await rig.store.copy(narrow, CopySource("photos", "bare"), "photos", "to")).size == 1
            assert (await rig.store.copy(narrow, SOURCE, "photos", "to", tags={})).tags == {}
            if good:
                assert (await rig.store.copy(narrow, SOURCE, "photos", "to")).tags == {"t": "3"}
            else:
                with pytest.raises(AccessDenied):
                    await rig.store.copy(narrow, SOURCE, "photos", "to")

    with_rig(test)
