from hypothesis import given
from hypothesis import strategies as st

from objstore.core import checksums

POLYNOMIALS = {"crc32": (0xEDB88320, 32), "crc32c": (0x82F63B78, 32), "crc64nvme": (0x9A6C9329AC4BC9B5, 64)}


def slow_crc(algorithm: str, data: bytes) -> bytes:
    """Bit by bit, from the definition: reflected, preset and inverted with ones."""
    polynomial, bits = POLYNOMIALS[algorithm]
    value = (1 << bits) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return (value ^ ((1 << bits) - 1)).to_bytes(bits // 8, "big")


@given(st.sampled_from(sorted(POLYNOMIALS)), st.binary(max_size=60))
def test_crcs_are_what_their_definition_says(algorithm: str, data: bytes) -> None:
    assert checksums.digest_of(algorithm, data) == slow_crc(algorithm, data)


@given(st.sampled_from(sorted(POLYNOMIALS)), st.lists(st.binary(max_size=40), max_size=5))
def test_combining_pieces_gives_the_crc_of_the_whole(algorithm: str, pieces: list[bytes]) -> None:
    combined = checksums.combine(algorithm, [(slow_crc(algorithm, piece), len(piece)) for piece in pieces])
    assert combined == slow_crc(algorithm, b"".join(pieces))


@given(st.sampled_from(checksums.ALGORITHMS), st.lists(st.binary(max_size=40), max_size=5))
def test_hashing_in_pieces_gives_the_digest_of_the_whole(algorithm: str, pieces: list[bytes]) -> None:
    hasher = checksums.new_hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest() == checksums.digest_of(algorithm, b"".join(pieces))
