from objstore.core.digests import DIGEST_BYTES, contribution, digest_bytes
from objstore.core.timestamp import ZERO, ballot_at


def test_a_register_that_only_promised_contributes_nothing() -> None:
    assert contribution(b"key", ZERO) == 0


def test_contributions_differ_by_key_and_by_ballot() -> None:
    seen = {contribution(key, ballot_at(number, 1)) for key in (b"a", b"b", b"ab") for number in (1, 2)}
    assert len(seen) == 6


def test_a_digest_does_not_depend_on_order_and_forgets_what_is_taken_out() -> None:
    one, two = contribution(b"a", ballot_at(1, 1)), contribution(b"b", ballot_at(2, 1))
    assert one ^ two == two ^ one
    assert one ^ two ^ one == two


def test_a_digest_travels_as_sixteen_bytes_zero_when_empty() -> None:
    assert digest_bytes(0) == bytes(DIGEST_BYTES)
    assert digest_bytes(1) == bytes(15) + b"\x01"


def test_contributions_never_change() -> None:
    """Replicas of different versions compare digests: a change here makes every partition look different."""
    assert contribution(b"bucket-1\x00name\x00\x00", ballot_at(7, 3)) == GOLDEN


GOLDEN = 0xE6E072F30D2868CDFF00878B6FEF9BD6
