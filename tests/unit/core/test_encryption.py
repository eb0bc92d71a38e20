import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.core import encryption as core
from objstore.core.encryption import (
    AES256,
    AWS_KMS,
    BLOCK_BYTES,
    CUSTOMER,
    NO_WISH,
    SEALED_BLOCK_BYTES,
    BucketEncryption,
    Description,
    Wish,
)
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest

KEY, OTHER = b"k" * 32, b"o" * 32


def test_a_buckets_default_survives_its_record() -> None:
    config = BucketEncryption(algorithm=AWS_KMS, kms_key_id="testkey-1", bucket_key=True, blocked=("SSE-C",))
    assert core.decode_bucket_encryption(core.encode_bucket_encryption(config)) == config


def test_a_description_survives_its_row() -> None:
    description = Description(1, AWS_KMS, b"s" * 32, b"wrapped", "key", '{"a":"b"}', bucket_key=True)
    assert core.decode_description(core.encode_description(description)) == description


@pytest.mark.parametrize(
    ("wish", "default", "settled"),
    [
        (NO_WISH, None, NO_WISH),
        (NO_WISH, BucketEncryption(), NO_WISH),
        (NO_WISH, BucketEncryption(algorithm=AES256), Wish(AES256)),
        (NO_WISH, BucketEncryption(algorithm=AWS_KMS, kms_key_id="k"), Wish(AWS_KMS, "k", "", False)),
        (NO_WISH, BucketEncryption(algorithm=AWS_KMS, bucket_key=True), Wish(AWS_KMS, "", "", True)),
        (Wish(AES256), BucketEncryption(algorithm=AWS_KMS, kms_key_id="k"), Wish(AES256)),
        (Wish(AWS_KMS, "mine"), BucketEncryption(algorithm=AWS_KMS, kms_key_id="k", bucket_key=True), Wish(AWS_KMS, "mine", "", True)),
        (Wish(AWS_KMS, "mine", bucket_key=False), BucketEncryption(bucket_key=True), Wish(AWS_KMS, "mine", "", False)),
        (Wish(customer_key=KEY), BucketEncryption(algorithm=AES256), Wish(customer_key=KEY)),
    ],
)
def test_a_request_goes_before_the_buckets_default(wish: Wish, default: BucketEncryption | None, settled: Wish) -> None:
    assert core.settled(wish, default) == settled


@pytest.mark.parametrize(
    ("wish", "refusal"),
    [
        (Wish("aws:fancy"), InvalidArgument),
        (Wish("", "key"), InvalidArgument),
        (Wish(AES256, customer_key=KEY), InvalidArgument),
        (Wish(customer_key=KEY), AccessDenied),
    ],
)
def test_wishes_that_contradict_themselves_or_the_bucket_are_refused(wish: Wish, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        core.settled(wish, BucketEncryption(blocked=("SSE-C",)))


def test_a_customers_key_is_told_from_others_without_being_kept() -> None:
    _, verifier = core.customer_keys(KEY, b"salt")
    description = Description(1, CUSTOMER, salt=b"salt", verifier=verifier)
    core.check_customer_key(description, KEY)
    with pytest.raises(AccessDenied):
        core.check_customer_key(description, OTHER)
    with pytest.raises(InvalidRequest):
        core.check_customer_key(description, b"")
    for plain in (None, Description(1, AES256)):
        core.check_customer_key(plain, b"")
        with pytest.raises(InvalidRequest):
            core.check_customer_key(plain, KEY)
    assert KEY not in core.encode_description(description)
    assert core.customer_keys(KEY, b"tlas")[1] != verifier


def test_a_customers_key_is_not_shown() -> None:
    assert "kkkk" not in repr(Wish(customer_key=KEY))


def test_each_body_has_a_key_of_its_own() -> None:
    assert (
        len({core.content_key(KEY, b"a"), core.content_key(KEY, b"b"), core.content_key(OTHER, b"a"), *core.customer_keys(KEY, b"a")}) == 5
    )


def test_nonces_differ_by_number_and_at_the_end() -> None:
    nonces = {core.nonce_of(block, last=last) for block in (0, 1, 255, 256, 1 << 40) for last in (False, True)}
    assert len(nonces) == 10
    assert {len(nonce) for nonce in nonces} == {12}


def test_a_full_sealed_block_is_a_blobs_checksum_block() -> None:
    assert SEALED_BLOCK_BYTES == 65536
    assert [core.sealed_size(size) for size in (0, 1, BLOCK_BYTES, BLOCK_BYTES + 1)] == [0, 17, 65536, 65536 + 17]


@given(st.integers(0, 1 << 20))
def test_the_limit_of_plain_bytes_is_the_largest_that_fits(limit: int) -> None:
    most = core.plain_limit(limit)
    assert core.sealed_size(most) <= max(limit, 0)
    assert core.sealed_size(most + 1) > limit


@given(st.integers(1, 10 * BLOCK_BYTES).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1), st.integers(0, size - 1))))
def test_a_window_is_whole_blocks_and_the_fewest_of_them(case: tuple[int, int, int]) -> None:
    size, one, two = case
    offset, length = min(one, two), abs(one - two) + 1
    window = core.window_of(size, offset, length)
    assert window.first * BLOCK_BYTES + window.skip == offset
    assert 0 <= window.skip < BLOCK_BYTES
    assert window.offset == window.first * SEALED_BLOCK_BYTES
    end = window.offset + window.length
    assert end == core.sealed_size(size) or end % SEALED_BLOCK_BYTES == 0
    last = (offset + length - 1) // BLOCK_BYTES
    assert -(-window.length // SEALED_BLOCK_BYTES) == last - window.first + 1
