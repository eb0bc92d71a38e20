"""Encrypted objects through the whole object model: bodies of all kinds, parts, ranges, copies, wrong keys."""

import itertools
from dataclasses import replace

import msgspec
import pytest

from objstore.core.encryption import (
    AES256,
    AWS_KMS,
    BLOCK_BYTES,
    NO_WISH,
    BucketEncryption,
    Wish,
    decode_description,
    encode_bucket_encryption,
    sealed_size,
)
from objstore.core.rows import RowKey, Space, decode_row, encode_row
from objstore.errors import AccessDenied, DamagedBody, InvalidRequest, KeyNotFound
from objstore.objects.api import Attributes, ByteRange, CompletedPart, CopySource, Expected
from tests.support.bodies import content, sent
from tests.support.store_rig import ALICE, Rig, noise, with_rig

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SSE_C = Wish(customer_key=KEY)
WISHES = {"none": NO_WISH, "SSE-S3": Wish(AES256), "SSE-KMS": Wish(AWS_KMS, "testkey-1", '{"a":"b"}'), "SSE-C": SSE_C}
MARK = b"plain words that must not lie on any disk"


def stored_bytes(rig: Rig) -> bytes:
    """Everything that devices would hold."""
    rows = b"".join(row + (payload or b"") for _, row, payload in rig.registers.rows.values())
    return rows + b"".join(rig.registers.blobs.values())


@pytest.mark.parametrize("kind", WISHES)
@pytest.mark.parametrize("size", [0, 1, 4079, 4080, 4081, BLOCK_BYTES, BLOCK_BYTES + 1, 400_000])
def test_a_body_comes_back_and_shows_its_plain_size(kind: str, size: int) -> None:
    async def test(rig: Rig) -> None:
        wish = WISHES[kind]
        data = (MARK + noise(size))[:size]
        info = await rig.put("k", data, attributes=Attributes(encryption=wish))
        assert info.size == size
        assert await rig.get("k", customer_key=wish.customer_key) == data
        row = await rig.row("k")
        assert row is not None
        assert (row.size, row.stored) == (size, sealed_size(size) if wish is not NO_WISH and size else -1)
        assert bool(row.encryption) == (wish is not NO_WISH)
        if size > len(MARK):
            assert (MARK in stored_bytes(rig)) == (wish is NO_WISH)
        assert KEY not in stored_bytes(rig)
        if size > 10:
            got = await rig.store.get(ALICE, "photos", "k", range_=ByteRange(size // 2, size // 2 + 4), customer_key=wish.customer_key)
            assert await content(got) == data[size // 2 : size // 2 + 5]

    with_rig(test)


def test_a_body_of_unknown_length_is_sealed_as_it_comes() -> None:
    async def test(rig: Rig) -> None:
        data = noise(5 * BLOCK_BYTES)
        await rig.store.put(
            ALICE, "photos", "k", sent(data, piece=BLOCK_BYTES, known=False), attributes=Attributes(encryption=SSE_C), expected=Expected()
        )
        assert await rig.get("k", customer_key=KEY) == data

    with_rig(test)


@pytest.mark.parametrize(("source", "target"), list(itertools.product(WISHES, WISHES)))
def test_copies_are_encrypted_as_their_request_says(source: str, target: str) -> None:
    async def test(rig: Rig) -> None:
        for size in (100, 150_000):
            data = noise(size)
            key = WISHES[source].customer_key
            await rig.put("from", data, attributes=Attributes(encryption=WISHES[source]))
            copied = CopySource("photos", "from", customer_key=key)
            info = await rig.store.copy(ALICE, copied, "photos", "to", encryption=WISHES[target])
            assert await rig.get("to", customer_key=WISHES[target].customer_key) == data
            shown = decode_description(info.encryption).algorithm if info.encryption else ""
            assert shown == {"none": "", "SSE-S3": AES256, "SSE-KMS": AWS_KMS, "SSE-C": "SSE-C"}[target]
            upload = await rig.store.create_upload(ALICE, "photos", "parts", attributes=Attributes(encryption=WISHES[target]))
            part = await rig.store.copy_part(
                ALICE,
                replace(copied, first=1, last=size - 2),
                "photos",
                "parts",
                upload.upload_id,
                1,
                customer_key=WISHES[target].customer_key,
            )
            await rig.complete("parts", upload.upload_id, [CompletedPart(1, part.etag)])
            assert await rig.get("parts", customer_key=WISHES[target].customer_key) == data[1:-1]
            if key:
                with pytest.raises(InvalidRequest):
                    await rig.store.copy(ALICE, CopySource("photos", "from"), "photos", "to")
                with pytest.raises(AccessDenied):
                    await rig.store.copy(ALICE, replace(copied, customer_key=OTHER_KEY), "photos", "to")
            else:
                with pytest.raises(InvalidRequest):
                    await rig.store.copy(ALICE, replace(copied, customer_key=KEY), "photos", "to")

    with_rig(test)


def test_a_copy_onto_itself_may_change_its_encryption() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"data")
        with pytest.raises(InvalidRequest):
            await rig.store.copy(ALICE, CopySource("photos", "k"), "photos", "k")
        await rig.store.copy(ALICE, CopySource("photos", "k"), "photos", "k", encryption=Wish(AES256))
        assert await rig.get("k") == b"data"
        assert (await rig.store.head(ALICE, "photos", "k")).encryption

    with_rig(test)


@pytest.mark.parametrize("kind", [kind for kind in WISHES if kind != "none"])
def test_parts_are_sealed_each_on_its_own_and_ranges_cross_them(kind: str) -> None:
    async def test(rig: Rig) -> None:
        wish = WISHES[kind]
        parts = [noise(BLOCK_BYTES + 5), noise(5000), noise(BLOCK_BYTES * 2), b"end"]
        upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(encryption=wish))
        done = []
        for number, data in enumerate(parts, 1):
            part = await rig.store.upload_part(
                ALICE, "photos", "k", upload.upload_id, number, sent(data), expected=Expected(), customer_key=wish.customer_key
            )
            done.append(CompletedPart(number, part.etag))
        info = await rig.complete("k", upload.upload_id, done)
        whole = b"".join(parts)
        assert info.size == len(whole)
        assert info.encryption == upload.encryption
        assert await rig.get("k", customer_key=wish.customer_key) == whole
        first = 0
        for data in parts:
            low, high = max(first - 3, 0), min(first + len(data) + 3, len(whole))
            assert await rig.get("k", range_=ByteRange(low, high - 1), customer_key=wish.customer_key) == whole[low:high]
            first += len(data)
        assert await rig.get("k", part_number=2, customer_key=wish.customer_key) == parts[1]
        assert all(data[:50] not in stored_bytes(rig) for data in parts[:3])

    with_rig(test)


def test_parts_must_repeat_the_key_of_their_upload() -> None:
    async def test(rig: Rig) -> None:
        async def part(upload_id: str, key: bytes) -> None:
            await rig.store.upload_part(ALICE, "photos", "k", upload_id, 1, sent(b"x"), expected=Expected(), customer_key=key)

        upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(encryption=SSE_C))
        with pytest.raises(InvalidRequest, match="Subsequent part requests must include"):
            await part(upload.upload_id, b"")
        with pytest.raises(InvalidRequest, match="did not match the ones used originally"):
            await part(upload.upload_id, OTHER_KEY)
        await part(upload.upload_id, KEY)
        for wish in (NO_WISH, Wish(AES256)):
            plain = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(encryption=wish))
            with pytest.raises(InvalidRequest, match="did not request encryption"):
                await part(plain.upload_id, KEY)

    with_rig(test)


def test_keys_of_readers_must_fit() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("sealed", b"x", attributes=Attributes(encryption=SSE_C))
        await rig.put("open", b"x")
        for call in (rig.store.head, rig.store.get):
            with pytest.raises(InvalidRequest, match="The correct parameters must be provided"):
                await call(ALICE, "photos", "sealed")
            with pytest.raises(AccessDenied):
                await call(ALICE, "photos", "sealed", customer_key=OTHER_KEY)
            with pytest.raises(InvalidRequest, match="not applicable"):
                await call(ALICE, "photos", "open", customer_key=KEY)
        assert (await rig.store.head(ALICE, "photos", "sealed", customer_key=KEY)).size == 1

    with_rig(test)


def test_etags_tell_of_the_bytes_only_where_the_store_holds_the_key() -> None:
    async def test(rig: Rig) -> None:
        plain = await rig.put("plain", b"data")
        assert (await rig.put("s3", b"data", attributes=Attributes(encryption=Wish(AES256)))).etag == plain.etag
        for wish in (SSE_C, Wish(AWS_KMS)):
            etag = (await rig.put("k", b"data", attributes=Attributes(encryption=wish))).etag
            assert etag != plain.etag
            assert len(etag) == 32
            assert (await rig.store.head(ALICE, "photos", "k", customer_key=wish.customer_key)).etag == etag

    with_rig(test)


def test_a_buckets_default_holds_for_whoever_names_nothing() -> None:
    async def test(rig: Rig) -> None:
        config = BucketEncryption(algorithm=AWS_KMS, kms_key_id="testkey-2", bucket_key=True)
        await rig.store.set_config(ALICE, "photos", "encryption", encode_bucket_encryption(config))
        shown = decode_description((await rig.put("k", b"data")).encryption)
        assert (shown.algorithm, shown.key_id, shown.bucket_key) == (AWS_KMS, "testkey-2", True)
        again = decode_description((await rig.put("k2", b"data")).encryption)
        assert again.wrapped == shown.wrapped  # one data key for the bucket, for a while
        assert again.seed != shown.seed
        assert await rig.get("k") == await rig.get("k2") == b"data"
        upload_id, parts = await rig.upload("m", [b"part"])
        assert decode_description((await rig.complete("m", upload_id, parts)).encryption).key_id == "testkey-2"
        own = await rig.put("k", b"data", attributes=Attributes(encryption=Wish(AES256)))
        assert decode_description(own.encryption).algorithm == AES256
        blocked = BucketEncryption(algorithm=AES256, blocked=("SSE-C",))
        await rig.store.set_config(ALICE, "photos", "encryption", encode_bucket_encryption(blocked))
        with pytest.raises(AccessDenied):
            await rig.put("k", b"data", attributes=Attributes(encryption=SSE_C))

    with_rig(test)


def test_a_key_that_is_not_there_is_refused_before_the_body() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(KeyNotFound):
            await rig.put("k", b"data", attributes=Attributes(encryption=Wish(AWS_KMS, "nobody")))
        with pytest.raises(KeyNotFound):
            await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(encryption=Wish(AWS_KMS, "../x")))

    with_rig(test)


@pytest.mark.parametrize("size", [100, 150_000])
def test_bytes_that_were_tampered_with_are_never_served(size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        await rig.put("k", data, attributes=Attributes(encryption=Wish(AES256)))
        slot = (await rig.id(), Space.OBJECTS, b"k", b"")
        ballot, row, payload = rig.registers.rows[slot]
        if payload is None:
            blob = decode_row(row).blob
            sealed = rig.registers.blobs[blob]
            rig.registers.blobs[blob] = sealed[:-20] + bytes([sealed[-20] ^ 1]) + sealed[-19:]
        else:
            rig.registers.rows[slot] = (ballot, row, payload[:-1] + bytes([payload[-1] ^ 1]))
        with pytest.raises(DamagedBody):
            await rig.get("k")
        if size > BLOCK_BYTES:
            assert await rig.get("k", range_=ByteRange(0, 9)) == data[:10]

    with_rig(test)


def test_a_sealed_body_does_not_open_under_the_row_of_another() -> None:
    async def test(rig: Rig) -> None:
        for key in ("a", "b"):
            await rig.put(key, b"the same", attributes=Attributes(encryption=Wish(AES256)))
        bucket = await rig.id()
        (ballot, row, _), (_, other, payload) = [rig.registers.rows[(bucket, Space.OBJECTS, key, b"")] for key in (b"a", b"b")]
        swapped = msgspec.structs.replace(decode_row(row), digest=decode_row(other).digest)
        rig.registers.put(RowKey(bucket, Space.OBJECTS, b"a"), ballot, swapped, payload)
        with pytest.raises(DamagedBody):
            await rig.get("a")
        assert encode_row(swapped) != other

    with_rig(test)


@pytest.mark.parametrize("kind", [kind for kind in WISHES if kind != "none"])
def test_what_is_appended_is_sealed_as_the_object_is(kind: str) -> None:
    async def test(rig: Rig) -> None:
        wish = WISHES[kind]
        attributes = Attributes(encryption=Wish(customer_key=wish.customer_key) if wish.customer_key else NO_WISH)

        async def append(offset: int, data: bytes) -> None:
            await rig.store.append(ALICE, "photos", "log", sent(data), offset=offset, attributes=attributes, expected=Expected())

        pieces = [MARK + noise(500), MARK + noise(70_000), MARK, MARK + noise(20)]
        await rig.put("log", pieces[0], attributes=Attributes(encryption=wish))
        for number in (1, 2, 3):
            await append(len(b"".join(pieces[:number])), pieces[number])
        whole = b"".join(pieces)
        assert await rig.get("log", customer_key=wish.customer_key) == whole
        assert await rig.get("log", range_=ByteRange(530, 71_000), customer_key=wish.customer_key) == whole[530:71_001]
        assert MARK not in stored_bytes(rig)
        info = await rig.store.head(ALICE, "photos", "log", customer_key=wish.customer_key)
        assert decode_description(info.encryption).wrapped
        if wish.customer_key:
            for bad, refusal in ((b"", InvalidRequest), (OTHER_KEY, AccessDenied)):
                attributes = Attributes(encryption=Wish(customer_key=bad) if bad else NO_WISH)
                with pytest.raises(refusal):
                    await append(len(whole), b"x")

    with_rig(test)


@pytest.mark.parametrize("size", [100, 100_000])
def test_sealed_versions_are_demoted_tagged_and_promoted_with_their_bytes(size: int) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        bodies = {wish: noise(size) for wish in WISHES}
        ids = {kind: (await rig.put("k", data, attributes=Attributes(encryption=WISHES[kind]))).version_id for kind, data in bodies.items()}
        for kind, version in ids.items():
            await rig.store.set_tags(ALICE, "photos", "k", {"kind": kind}, version_id=version)
            assert await rig.get("k", version_id=version, customer_key=WISHES[kind].customer_key) == bodies[kind]
        for kind in reversed(ids):
            info = await rig.store.head(ALICE, "photos", "k", customer_key=WISHES[kind].customer_key)
            assert (info.version_id, info.tags) == (ids[kind], {"kind": kind})
            assert await rig.get("k", customer_key=WISHES[kind].customer_key) == bodies[kind]
            await rig.store.delete(ALICE, "photos", "k", version_id=ids[kind])

    with_rig(test)


@pytest.mark.parametrize("kind", [kind for kind in WISHES if kind != "none"])
def test_a_sealed_object_is_renamed_without_its_key(kind: str) -> None:
    async def test(rig: Rig) -> None:
        wish = WISHES[kind]
        for size in (100, 100_000):
            data = noise(size)
            await rig.put("old", data, attributes=Attributes(encryption=wish))
            info = await rig.store.rename(ALICE, "photos", "old", "new")
            assert info.encryption
            assert await rig.get("new", customer_key=wish.customer_key) == data
            assert await rig.get("new", range_=ByteRange(50, 59), customer_key=wish.customer_key) == data[50:60]

    with_rig(test)
