"""Copies that share bodies: no bytes move, and a body is there as long as any name of it, however the others end."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from objstore.core.encryption import AES256, AWS_KMS, Wish
from objstore.core.names import anchor_of
from objstore.core.rows import SYSTEM_BUCKET, RowKey, Space
from objstore.errors import ConditionalConflict, NoSuchKey, NoSuchUpload, ObjstoreError, PreconditionFailed, QuorumLost
from objstore.objects.api import Attributes, CompletedPart, Conditions, CopySource, Expected
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import sent
from tests.support.store_rig import ALICE, Rig, noise, with_rig

SOURCE = CopySource("photos", "from")
KEY = b"k" * 32


def disk(rig: Rig) -> int:
    return sum(len(body) for body in rig.registers.blobs.values())


async def emptied(rig: Rig, reclaimer: PartReclaimer) -> None:
    """Reclaim what is garbage; nothing must be left of parts, shares or bodies."""
    for _ in range(4):
        await asyncio.sleep(1000)
        await reclaimer.run()
    assert await rig.live_parts() == 0
    assert rig.registers.live_names(await rig.id(), Space.UPLOADS) == []
    assert disk(rig) == 0


@pytest.mark.parametrize("parts", [0, 3, 30])
def test_a_copy_moves_no_bytes_and_outlives_its_source(parts: int) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(ALICE, "other")
        if parts:
            upload_id, made = await rig.upload("from", [noise(5000) for _ in range(parts)])
            await rig.complete("from", upload_id, made)
            data = await rig.get("from")
        else:
            data = noise(300_000)
            await rig.put("from", data)
        before, staged = disk(rig), rig.cluster.counts.get("stage", 0)
        source = await rig.store.head(ALICE, "photos", "from")
        for bucket, key in (("photos", "near"), ("other", "far"), ("photos", "from")):
            info = await rig.store.copy(ALICE, SOURCE, bucket, key, attributes=Attributes(metadata={"n": key}))
            assert (info.etag, info.checksums, info.part_count, info.metadata) == (source.etag, source.checksums, parts, {"n": key})
        again = await rig.store.copy(ALICE, CopySource("other", "far"), "photos", "again")
        assert (again.etag, again.part_count) == (source.etag, parts)
        assert rig.cluster.counts.get("stage", 0) == staged
        assert disk(rig) == before
        await rig.put("from", b"new")
        await rig.store.delete(ALICE, "photos", "near")
        reclaimer = PartReclaimer(rig.cluster, rig.clock)
        for _ in range(3):
            await asyncio.sleep(1000)
            await reclaimer.run()
        assert await rig.get("again") == data
        rig.bucket = "other"
        assert await rig.get("far") == data
        assert await rig.get("far", part_number=1) == (data[:5000] if parts else data)
        await rig.store.delete(ALICE, "other", "far")
        rig.bucket = "photos"
        await rig.store.delete(ALICE, "photos", "again")
        await emptied(rig, reclaimer)

    with_rig(test)


def test_small_objects_are_copied_byte_by_byte() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", b"x" * 4096)
        upload_id, made = await rig.upload("from2", [b"x" * 4000])
        await rig.complete("from2", upload_id, made)
        await rig.store.copy(ALICE, SOURCE, "photos", "to")
        await rig.store.copy(ALICE, CopySource("photos", "from2"), "photos", "to2")
        assert await rig.live_parts() == 1
        assert (await rig.store.head(ALICE, "photos", "to2")).part_count == 0

    with_rig(test)


@pytest.mark.parametrize(
    ("sealed", "wish", "shared"),
    [
        (Wish(AES256), Wish(AES256), True),
        (Wish(AWS_KMS, "testkey-1"), Wish(AWS_KMS, "testkey-1"), True),
        (Wish(AWS_KMS, "testkey-1"), Wish(AWS_KMS, "testkey-2"), False),
        (Wish(AWS_KMS, "testkey-1"), Wish(AWS_KMS, "testkey-1", '{"a":"b"}'), False),
        (Wish(AWS_KMS, "testkey-1"), Wish(AES256), False),
        (Wish(AES256), Wish(), False),
        (Wish(), Wish(AES256), False),
        (Wish(), Wish(customer_key=KEY), False),
    ],
)
def test_sealed_bytes_are_shared_under_the_very_same_key_alone(sealed: Wish, wish: Wish, *, shared: bool) -> None:
    async def test(rig: Rig) -> None:
        for size in (9000, 0):
            if size:
                data = noise(size)
                await rig.put("from", data, attributes=Attributes(encryption=sealed))
            else:
                upload = await rig.store.create_upload(ALICE, "photos", "from", attributes=Attributes(encryption=sealed))
                made = [await rig.part("from", upload.upload_id, n, noise(6000)) for n in (1, 2)]
                await rig.complete("from", upload.upload_id, made)
                data = await rig.get("from")
            before = disk(rig)
            await rig.store.copy(ALICE, SOURCE, "photos", "to", encryption=wish)
            assert (disk(rig) == before) is shared
            await rig.store.delete(ALICE, "photos", "from")
            assert await rig.get("to", customer_key=wish.customer_key) == data
            row = await rig.row("to")
            assert row is not None
            assert bool(row.encryption) is (wish != Wish())
            if shared:
                grown = await rig.store.append(
                    ALICE, "photos", "to", sent(b"tail", piece=10), offset=len(data), attributes=Attributes(), expected=Expected()
                )
                assert grown.part_count == (2 if size else 3)
                assert await rig.get("to") == data + b"tail"
                assert await rig.get("to", part_number=grown.part_count) == b"tail"

    with_rig(test)


def test_a_part_shares_the_body_that_its_range_is_all_of_and_other_ranges_move() -> None:
    async def test(rig: Rig) -> None:
        data = noise(9000)
        await rig.put("from", data)
        upload_id, made = await rig.upload("parts", [noise(5000), noise(6000), noise(100)])
        await rig.complete("parts", upload_id, made)
        parts = await rig.get("parts")
        upload_id, _ = await rig.upload("to", [])
        wanted = b""
        asked = [
            (CopySource("photos", "from"), data, True),
            (CopySource("photos", "from", first=0, last=8999), data, True),
            (CopySource("photos", "parts", first=5000, last=10_999), parts[5000:11_000], True),
            (CopySource("photos", "from", first=0, last=8998), data[:8999], False),
            (CopySource("photos", "parts", first=0, last=10_999), parts[:11_000], False),
            (CopySource("photos", "parts", first=4999, last=10_998), parts[4999:10_999], False),
        ]
        listed = []
        for number, (source, piece, shared) in enumerate(asked, 1):
            before = disk(rig)
            part = await rig.store.copy_part(ALICE, source, "photos", "to", upload_id, number)
            assert (part.number, part.size, disk(rig) == before) == (number, len(piece), shared)
            listed.append(CompletedPart(number, part.etag))
            wanted += piece
        for key in ("from", "parts"):
            await rig.store.delete(ALICE, "photos", key)
        info = await rig.complete("to", upload_id, listed)
        assert (info.part_count, await rig.get("to")) == (6, wanted)
        with pytest.raises(NoSuchUpload):
            await rig.store.copy_part(ALICE, CopySource("photos", "to"), "photos", "to", upload_id, 1)

    with_rig(test)


def test_a_source_that_goes_at_the_wrong_moment_is_read_again_or_missing() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", noise(9000))

        async def replaced(what: str, key: RowKey) -> None:
            if what == "write" and anchor_of(key.name) is not None:
                rig.cluster.before = None
                await rig.put("from", b"n" * 9000)

        rig.cluster.before = replaced
        await rig.store.copy(ALICE, SOURCE, "photos", "to")
        assert await rig.get("to") == b"n" * 9000
        assert await rig.live_parts() == 0

        async def deleted(what: str, key: RowKey) -> None:
            if what == "write" and anchor_of(key.name) is not None:
                rig.cluster.before = None
                await rig.store.delete(ALICE, "photos", "from")

        rig.cluster.before = deleted
        with pytest.raises(NoSuchKey):
            await rig.store.copy(ALICE, SOURCE, "photos", "to2")

    with_rig(test)


def test_a_refused_copy_leaves_nothing_behind() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", noise(9000))
        await rig.put("to", b"x")
        absent = Conditions(if_none_match=("*",))
        with pytest.raises(PreconditionFailed):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", conditions=absent)
        await rig.store.delete(ALICE, "photos", "to")

        async def rival(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name == b"to":
                rig.cluster.before = None
                await rig.put("to", b"y")

        rig.cluster.before = rival
        with pytest.raises(PreconditionFailed):
            await rig.store.copy(ALICE, SOURCE, "photos", "to", conditions=absent)
        assert await rig.live_parts() == 0

    with_rig(test)


def test_an_old_version_comes_back_by_a_copy_onto_its_own_key() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        old = noise(9000)
        first = await rig.put("from", old)
        await rig.put("from", noise(8000))
        before = disk(rig)
        source = CopySource("photos", "from", version_id=first.version_id)
        info = await rig.store.copy(ALICE, source, "photos", "from")
        assert (info.etag, info.source_version_id, disk(rig)) == (first.etag, first.version_id, before)
        await rig.store.delete(ALICE, "photos", "from", version_id=first.version_id)
        reclaimer = PartReclaimer(rig.cluster, rig.clock)
        for _ in range(3):
            await asyncio.sleep(1000)
            await reclaimer.run()
        assert await rig.get("from") == old
        for version in [info.version_id, *(row.version for row in rig.registers.versions(await rig.id(), b"from"))]:
            await rig.store.delete(ALICE, "photos", "from", version_id=version)
        await emptied(rig, reclaimer)

    with_rig(test)


def test_what_a_large_object_was_made_of_stays_through_a_rename_and_goes_with_copies_and_appends() -> None:
    async def test(rig: Rig) -> None:
        for count in (2, 20):
            upload = await rig.store.create_upload(ALICE, "photos", "from", attributes=Attributes(), segments=b"made of these")
            made = [await rig.part("from", upload.upload_id, number, b"x" * 500) for number in range(1, count + 1)]
            assert (await rig.complete("from", upload.upload_id, made)).segments == b"made of these"
            moved = await rig.store.rename(ALICE, "photos", "from", "to")
            assert (moved.segments, moved.part_count) == (b"made of these", count)
            copied = await rig.store.copy(ALICE, CopySource("photos", "to"), "photos", "copy")
            assert (copied.segments, await rig.get("copy")) == (b"", b"x" * 500 * count)
            size = 500 * count
            grown = await rig.store.append(
                ALICE, "photos", "to", sent(b"tail", piece=10), offset=size, attributes=Attributes(), expected=Expected()
            )
            assert (grown.segments, await rig.get("to")) == (b"", b"x" * size + b"tail")
            again = await rig.store.rename(ALICE, "photos", "copy", "from")
            assert (again.segments, await rig.get("from")) == (b"", b"x" * size)

    with_rig(test)


class Crash(Exception):
    """The proxy dies at this very step."""


class Chaos:
    """Random names, copies, deletions, versions and reclaiming by two proxies, one of which dies at any step now and then."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rigs = [rig, rig.peer()]
        self.reclaimers = [PartReclaimer(one.cluster, one.clock) for one in self.rigs]
        self.expected: dict[str, set[bytes]] = {}  # key -> what it may hold; b"" for nothing
        self.crashes = 0
        self._number = 0

    def body(self) -> bytes:
        self._number += 1
        return b"%d " % self._number * self.rng.choice((1500, 2500))

    def key(self) -> str:
        return f"k{self.rng.randrange(6)}"

    async def step(self) -> None:
        rig = self.rng.choice(self.rigs)
        fuse = self.rng.randrange(1, 20) if self.rng.random() < 0.3 else -1

        async def burn(_what: str, key: RowKey) -> None:
            nonlocal fuse
            if key.bucket == SYSTEM_BUCKET:
                return  # looking a bucket up is shared with whoever comes next
            fuse -= 1
            if fuse == 0:
                raise Crash

        rig.cluster.before = rig.cluster.after = burn
        try:
            await self.rng.choice((self.put, self.parts, self.copy, self.copy, self.copy, self.rename, self.delete, self.race))(rig)
        except Crash:
            self.crashes += 1
        finally:
            rig.cluster.before = rig.cluster.after = None
        if self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.choice((1, 500, 1000)))
            await self.rng.choice(self.reclaimers).run()

    async def change(self, key: str, new: set[bytes], work: Callable[[], Awaitable[object]]) -> None:
        before = self.expected.get(key, {b""})
        self.expected[key] = before | new
        try:
            await work()
        except ConditionalConflict:
            return
        except ObjstoreError:
            self.expected[key] = before
            raise
        self.expected[key] = new

    async def put(self, rig: Rig) -> None:
        data, key = self.body(), self.key()
        await self.change(key, {data}, lambda: rig.put(key, data))

    async def parts(self, rig: Rig) -> None:
        key, pieces = self.key(), [self.body() for _ in range(self.rng.choice((2, 20)))]

        async def make() -> None:
            upload_id, made = await rig.upload(key, pieces)
            await rig.complete(key, upload_id, made)

        await self.change(key, {b"".join(pieces)}, make)

    async def copy(self, rig: Rig) -> None:
        source, key = self.key(), self.key()
        held = self.expected.get(source, {b""})
        new = held - {b""}

        async def make() -> None:
            await rig.store.copy(ALICE, CopySource("photos", source), "photos", key, attributes=Attributes())

        try:
            await self.change(key, new, make)
        except NoSuchKey:
            assert b"" in held

    async def rename(self, rig: Rig) -> None:
        source, key = self.key(), self.key()
        held = self.expected.get(source, {b""})
        if source == key:
            return

        async def gone() -> None:
            await self.change(key, held - {b""}, lambda: rig.store.rename(ALICE, "photos", source, key))

        try:
            await self.change(source, {b""}, gone)
        except NoSuchKey:
            assert b"" in held

    async def delete(self, rig: Rig) -> None:
        key = self.key()
        await self.change(key, {b""}, lambda: rig.store.delete(ALICE, "photos", key))

    async def race(self, rig: Rig) -> None:
        """A copy while its source is deleted."""
        source, key = self.key(), self.key()
        if source == key:
            return
        held = self.expected.get(source, {b""}) | self.expected.get(key, {b""})
        self.expected[key] = held
        other = self.rigs[0] if rig is self.rigs[1] else self.rigs[1]
        done = await asyncio.gather(
            rig.store.copy(ALICE, CopySource("photos", source), "photos", key),
            self.change(source, {b""}, lambda: other.store.delete(ALICE, "photos", source)),
            return_exceptions=True,
        )  # fmt: skip
        assert all(failure is None or not isinstance(failure, BaseException) or isinstance(failure, NoSuchKey | Crash) for failure in done)

    async def check(self) -> None:
        for key, held in self.expected.items():
            try:
                assert await self.rng.choice(self.rigs).get(key) in held, key
            except NoSuchKey:
                assert b"" in held, key


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("versioned", [False, True])
def test_no_byte_is_lost_and_none_is_left_over_whatever_dies_in_between(seed: int, *, versioned: bool) -> None:
    async def test(rig: Rig) -> None:
        if versioned:
            await rig.store.set_versioning(ALICE, "photos", "Enabled")
        chaos = Chaos(rig, seed)
        for _ in range(60):
            await chaos.step()
            await chaos.check()
        bucket = await rig.id()
        for name in rig.registers.live_names(bucket, Space.UPLOADS):
            if b"\0" in name and len(name.split(b"\0")[-1]) == 32:  # of a proxy that died
                key, upload_id = name.decode().split("\0")
                try:
                    await rig.store.abort_upload(ALICE, "photos", key, upload_id)
                except NoSuchUpload:
                    continue
        for key in chaos.expected:
            for row in [await rig.row(key), *rig.registers.versions(bucket, key.encode())] if versioned else [None]:
                version_id = row.version if row is not None else ""
                await rig.store.delete(ALICE, "photos", key, version_id=version_id)
        await emptied(rig, PartReclaimer(rig.cluster, rig.clock))

    with_rig(test)


def test_what_cannot_be_shared_now_is_copied() -> None:
    async def test(rig: Rig) -> None:
        data = noise(9000)
        await rig.put("from", data)

        async def ill(what: str, key: RowKey) -> None:
            if what == "write" and anchor_of(key.name) is not None:
                raise QuorumLost("two devices are gone")

        rig.cluster.before = ill
        await rig.store.copy(ALICE, SOURCE, "photos", "to")
        upload_id, _ = await rig.upload("two", [])
        await rig.store.copy_part(ALICE, SOURCE, "photos", "two", upload_id, 1)
        assert await rig.get("to") == data
        assert disk(rig) == 3 * len(data)

    with_rig(test)
