import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from objstore.core import checksums
from objstore.core.rows import BodyKind, RowKey, Space
from objstore.errors import BadDigest, EntityTooLarge, IncompleteBody, InvalidRequest, QuorumLost
from objstore.objects.api import Body, Expected
from objstore.objects.context import ObjectSettings
from objstore.objects.intake import BATCH_BYTES, Received, receive
from tests.support.bodies import SentBody, sent
from tests.support.store_rig import Rig, noise, with_rig

KEY = RowKey(b"12345678", Space.OBJECTS, b"k")
SMALL, LARGE = 3000, 3 * BATCH_BYTES + 12345


async def take(rig: Rig, body: Body, expected: Expected | None = None, **rest: tuple[str, ...]) -> Received:
    return await receive(rig.store, KEY, 0, body, expected or Expected(), **rest)


def staged(rig: Rig, received: Received) -> bytes:
    return received.payload or (rig.registers.staged[received.blob] if received.staging else b"")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, SMALL, 4096, 4097, 70_000, LARGE])
@pytest.mark.parametrize("piece", [999, 100_000])
def test_every_body_comes_whole_with_its_digests(size: int, known: bool, piece: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        received = await take(rig, sent(data, piece=piece, known=known), Expected(wanted=("crc32", "sha256")))
        assert staged(rig, received) == data
        assert (received.size, received.etag) == (size, hashlib.md5(data).hexdigest())
        assert received.checksums == {name: checksums.digest_of(name, data) for name in ("crc32", "sha256")}
        assert received.body == (BodyKind.NONE if not size else BodyKind.INLINE if size <= 4096 else BodyKind.BLOB)

    with_rig(test)


def test_the_default_checksum_is_added_only_when_none_is_asked_for() -> None:
    async def test(rig: Rig) -> None:
        assert set((await take(rig, sent(b"x"))).checksums) == {"crc64nvme"}
        assert set((await take(rig, sent(b"x" * 9000))).checksums) == {"crc64nvme"}
        digest = checksums.digest_of("sha1", b"x")
        assert (await take(rig, sent(b"x"), Expected(checksums={"sha1": digest}))).checksums == {"sha1": digest}
        assert set((await take(rig, sent(b"x"), also=("crc32c",))).checksums) == {"crc32c"}

    with_rig(test)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_trailers_are_verified_like_headers(size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        good = {"crc32": checksums.digest_of("crc32", data)}
        received = await take(rig, SentBody([data], trailers=good), Expected(wanted=("crc32",)))
        assert received.checksums == good
        with pytest.raises(BadDigest):
            await take(rig, SentBody([data], trailers={"crc32": b"nope"}), Expected(wanted=("crc32",)))
        with pytest.raises(BadDigest):
            await take(rig, SentBody([data], trailers=good), Expected(checksums={"crc32": b"nope"}))
        assert len(rig.registers.staged) == (1 if size == LARGE else 0)

    with_rig(test)


def test_a_trailer_that_was_not_announced_serves_a_small_body_and_is_refused_for_a_large_one() -> None:
    async def test(rig: Rig) -> None:
        data = noise(SMALL)
        assert (await take(rig, SentBody([data], trailers={"sha1": checksums.digest_of("sha1", data)}))).size == SMALL
        large = noise(LARGE)
        with pytest.raises(InvalidRequest):
            await take(rig, SentBody([large], trailers={"sha1": checksums.digest_of("sha1", large)}))

    with_rig(test)


@pytest.mark.parametrize(("sent_bytes", "announced"), [(10, 11), (11, 10), (9000, 9001), (9001, 9000), (9000, 10), (4096, 4097), (0, 1)])
def test_a_body_of_another_length_than_announced_is_incomplete(sent_bytes: int, announced: int) -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(IncompleteBody):
            await take(rig, SentBody([b"x"] * sent_bytes, size=announced))
        assert rig.registers.staged == {}

    with_rig(test)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_the_body_refuses_at_its_end_leaves_nothing(size: int) -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(BadDigest):
            await take(rig, SentBody([noise(size)], failure=BadDigest("the signature does not fit")))
        assert rig.registers.staged == {}

    with_rig(test)


def test_bodies_over_the_limit_are_refused_at_once_or_when_they_get_there() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(EntityTooLarge):
            await take(rig, SentBody([], size=200_001))
        with pytest.raises(EntityTooLarge):
            await take(rig, sent(noise(200_001), known=False))
        assert (await take(rig, sent(noise(200_000), known=False))).size == 200_000

    with_rig(test, settings=ObjectSettings(max_put_bytes=200_000, inline_limit_bytes=4096))


def test_an_unknown_algorithm_is_refused_before_the_body_is_taken() -> None:
    async def test(rig: Rig) -> None:
        body = SentBody([b"x"])
        with pytest.raises(InvalidRequest):
            await take(rig, body, Expected(wanted=("md4",)))
        assert not body.finished

    with_rig(test)


def test_a_sender_that_goes_away_and_a_cancelled_request_leave_nothing() -> None:
    class Broken(SentBody):
        async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
            yield noise(BATCH_BYTES + 1)
            if self.size == LARGE:
                raise IncompleteBody("the connection broke")
            await asyncio.sleep(3600)

    async def test(rig: Rig) -> None:
        with pytest.raises(IncompleteBody):
            await take(rig, Broken([], size=LARGE))
        waiting = asyncio.ensure_future(take(rig, Broken([], size=LARGE + 1)))
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert rig.registers.staged == {}
        assert len(rig.store.tasks) == 0

    with_rig(test)


def test_a_quorum_that_is_lost_at_the_flush_is_told() -> None:
    async def test(rig: Rig) -> None:
        real = rig.cluster.stage

        async def stage(*args: object, **kwargs: object) -> object:
            staging = await real(*args, **kwargs)  # type: ignore[arg-type]

            async def finish() -> None:
                raise QuorumLost("two of three disks are full")

            staging.finish = finish  # type: ignore[method-assign]
            return staging

        rig.cluster.stage = stage  # type: ignore[method-assign, assignment]
        with pytest.raises(QuorumLost):
            await take(rig, sent(noise(LARGE)))
        assert rig.registers.staged == {}

    with_rig(test)
