import hashlib

import pytest

from objstore.core import checksums
from objstore.errors import InvalidRequest

# "123456789": the check value of each CRC's definition; SHA from FIPS 180.
CHECK = {
    "crc32": bytes.fromhex("cbf43926"),
    "crc32c": bytes.fromhex("e3069283"),
    "crc64nvme": bytes.fromhex("ae8b14860a799888"),
    "sha1": bytes.fromhex("f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    "sha256": bytes.fromhex("15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
}


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_every_algorithm_gives_its_check_value(algorithm: str) -> None:
    assert checksums.digest_of(algorithm, b"123456789") == CHECK[algorithm]
    assert len(CHECK[algorithm]) == checksums.DIGEST_BYTES[algorithm]


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_pieces_of_any_kind_give_the_digest_of_the_whole(algorithm: str) -> None:
    hasher = checksums.new_hasher(algorithm)
    for piece in (b"1234", memoryview(b"x5678x")[1:5], bytearray(b"9"), b""):
        hasher.update(piece)
    assert hasher.digest() == CHECK[algorithm]


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
def test_the_crc_of_the_whole_follows_from_those_of_its_pieces(algorithm: str) -> None:
    pieces = [b"a" * 70_000, b"", b"b", b"c" * 12_345]
    digests = [(checksums.digest_of(algorithm, p), len(p)) for p in pieces]
    assert checksums.combine(algorithm, digests) == checksums.digest_of(algorithm, b"".join(pieces))
    assert checksums.combine(algorithm, []) == checksums.digest_of(algorithm, b"")


def test_a_composite_checksum_is_the_digest_of_the_digests() -> None:
    digests = [hashlib.sha256(part).digest() for part in (b"a", b"b")]
    assert checksums.composite("sha256", digests) == hashlib.sha256(digests[0] + digests[1]).digest()


@pytest.mark.parametrize(
    ("algorithm", "asked", "given"),
    [
        ("crc32", "", "COMPOSITE"),
        ("crc32c", "", "COMPOSITE"),
        ("crc32", "FULL_OBJECT", "FULL_OBJECT"),
        ("crc64nvme", "", "FULL_OBJECT"),
        ("sha1", "", "COMPOSITE"),
        ("sha256", "COMPOSITE", "COMPOSITE"),
    ],
)
def test_the_type_of_an_uploads_checksum_follows_its_algorithm(algorithm: str, asked: str, given: str) -> None:
    assert checksums.upload_checksum_type(algorithm, asked) == given


@pytest.mark.parametrize(
    ("algorithm", "asked"),
    [("sha1", "FULL_OBJECT"), ("sha256", "FULL_OBJECT"), ("crc64nvme", "COMPOSITE"), ("md5", ""), ("crc32", "x"), ("", "")],
)
def test_pairs_that_do_not_exist_are_refused(algorithm: str, asked: str) -> None:
    with pytest.raises(InvalidRequest):
        checksums.upload_checksum_type(algorithm, asked)


def test_unknown_algorithms_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        checksums.digest_of("md4", b"")
