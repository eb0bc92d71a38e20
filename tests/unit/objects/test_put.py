import asyncio
import hashlib

import pytest

from objstore.core import checksums
from objstore.core.rows import BodyKind, RowKey
from objstore.errors import BadDigest, InvalidKey, KeyTooLong, MetadataTooLarge, NoSuchBucket, NoSuchKey, OutcomeUnknown, PreconditionFailed
from objstore.objects.api import Attributes, Conditions, Expected
from tests.support.bodies import SentBody
from tests.support.store_rig import ALICE, Rig, noise, with_rig

ABSENT = Conditions(if_none_match=("*",))


def test_what_was_put_is_told_and_kept() -> None:
    async def test(rig: Rig) -> None:
        attributes = Attributes(content_type="text/x", headers={"cache-control": "no-store"}, metadata={"a": "b"}, tags={"t": "u"})
        info = await rig.put("k", b"hello", attributes=attributes)
        assert (info.etag, info.size, info.content_type, info.owner) == ("5d41402abc4b2a76b9719d911017c592", 5, "text/x", "alice")
        assert (info.headers, info.metadata, info.tags) == ({"cache-control": "no-store"}, {"a": "b"}, {"t": "u"})
        assert (info.checksums, info.checksum_type) == ({"crc64nvme": checksums.digest_of("crc64nvme", b"hello")}, "FULL_OBJECT")
        assert info.modified_us == rig.clock.wall_us()
        assert await rig.store.head(ALICE, "photos", "k") == info

    with_rig(test)


@pytest.mark.parametrize(("size", "body"), [(0, BodyKind.NONE), (1, BodyKind.INLINE), (4096, BodyKind.INLINE), (4097, BodyKind.BLOB)])
def test_small_bodies_lie_in_the_row_and_large_ones_beside_it(size: int, body: BodyKind) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        assert (await rig.put("k", data)).etag == hashlib.md5(data).hexdigest()
        row = await rig.row("k")
        assert row is not None
        assert row.body == body
        assert await rig.get("k") == data

    with_rig(test)


def test_nothing_is_visible_of_a_body_that_does_not_match() -> None:
    async def test(rig: Rig) -> None:
        for size in (10, 10_000):
            with pytest.raises(BadDigest):
                await rig.put("k", noise(size), expected=Expected(md5=b"0" * 16))
        assert await rig.row("k") is None
        assert rig.registers.staged == {}

    with_rig(test)


def test_names_and_metadata_are_checked_before_the_body_is_taken() -> None:
    async def test(rig: Rig) -> None:
        for key, attributes, error in (
            ("", Attributes(), InvalidKey),
            ("x" * 1025, Attributes(), KeyTooLong),
            ("k", Attributes(metadata={"a": "x" * 2048}), MetadataTooLarge),
        ):
            body = SentBody([b"x"])
            with pytest.raises(error):
                await rig.store.put(ALICE, "photos", key, body, attributes=attributes, expected=Expected())
            assert not body.finished
        with pytest.raises(NoSuchBucket):
            await rig.store.put(ALICE, "nothing-here", "k", SentBody([b"x"]), attributes=Attributes(), expected=Expected())

    with_rig(test)


def test_of_many_that_create_a_key_at_once_one_wins() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        tries = [(rig if i % 2 else peer).put("k", b"%d" % i * 3000 * (i % 3 + 1), conditions=ABSENT) for i in range(9)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        won = [o for o in outcomes if not isinstance(o, BaseException)]
        assert len(won) == 1
        lost = [o for o in outcomes if isinstance(o, PreconditionFailed)]
        assert len(lost) == 8
        assert {o.facts["condition"] for o in lost} == {"If-None-Match"}
        assert hashlib.md5(await rig.get("k")).hexdigest() == won[0].etag
        assert rig.registers.staged == {}  # the losers' blobs were dropped

    with_rig(test)


def test_if_match_swaps_only_what_it_names() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(NoSuchKey):
            await rig.put("k", conditions=Conditions(if_match=("*",)))
        first = await rig.put("k", b"one")
        second = await rig.put("k", b"two", conditions=Conditions(if_match=(first.etag,)))
        with pytest.raises(PreconditionFailed):
            await rig.put("k", b"three", conditions=Conditions(if_match=(first.etag,)))
        assert (await rig.store.head(ALICE, "photos", "k")).etag == second.etag
        await rig.store.delete(ALICE, "photos", "k")
        assert (await rig.put("k", b"four", conditions=ABSENT)).size == 4

    with_rig(test)


def test_a_large_body_is_refused_before_it_is_taken_when_its_condition_cannot_hold() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        body = SentBody([b"x" * 10000])
        with pytest.raises(PreconditionFailed):
            await rig.store.put(ALICE, "photos", "k", body, attributes=Attributes(), expected=Expected(), conditions=ABSENT)
        assert not body.finished
        assert "stage" not in rig.cluster.counts

    with_rig(test)


def test_the_blob_of_a_write_whose_outcome_is_unknown_is_left_alone() -> None:
    async def test(rig: Rig) -> None:
        async def lose(what: str, key: RowKey) -> None:
            if what == "write":
                raise OutcomeUnknown("the answers were lost")

        rig.cluster.after = lose
        with pytest.raises(OutcomeUnknown):
            await rig.put("k", b"x" * 9000)
        rig.cluster.after = None
        assert await rig.get("k") == b"x" * 9000

    with_rig(test)
