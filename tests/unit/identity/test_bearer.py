"""Tokens open where they were made, whole, and nowhere else."""

from objstore.identity.bearer import DAY_US, Bearer, BearerSealer, SecretBox
from objstore.identity.token_keys import BUILT_IN, rotated
from objstore.runtime.rng import SystemRng

NOW_US = 20_000 * DAY_US
BEARER = Bearer(1, "u1", ("password",), "p:p1", NOW_US, NOW_US + 3_600_000_000, ("a", "b"))
SEALER = BearerSealer(bytes(32), SystemRng())


def test_a_token_opens_in_every_process_of_the_cluster_and_in_no_other_cluster() -> None:
    token = SEALER.seal(BEARER)
    assert len(token) < 256
    assert BearerSealer(bytes(32), SystemRng()).open(token, NOW_US) == BEARER
    assert BearerSealer(b"x" * 32, SystemRng()).open(token, NOW_US) is None


def test_every_flipped_bit_and_every_other_spelling_opens_nothing() -> None:
    token = SEALER.seal(BEARER)
    for at in range(len(token)):
        for bit in range(8):
            changed = token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :]
            assert SEALER.open(changed, NOW_US) is None
    for other in ("", "A", token[:-1], token + "A", token + "=", token + "\n", " " + token, "é" + token, "A" * 100_000):
        assert SEALER.open(other, NOW_US) is None


def test_keys_are_of_one_day_and_old_ones_are_no_longer_made() -> None:
    token = SEALER.seal(BEARER)
    assert SEALER.open(token, NOW_US + 31 * DAY_US) == BEARER
    assert SEALER.open(token, NOW_US + 70 * DAY_US) is None
    assert SEALER.open(token, NOW_US - 3 * DAY_US) is None
    for day in range(200):  # the ciphers that are held stay few
        later = NOW_US + day * DAY_US
        assert SEALER.open(SEALER.seal(Bearer(1, "u", (), "", later, later, ())), later) is not None


def test_a_token_opens_as_long_as_its_key_is_there() -> None:
    old = SEALER.seal(BEARER)
    sealer = BearerSealer(bytes(32), SystemRng())
    keys = rotated(BUILT_IN, NOW_US, (b"a" * 32, b"b" * 32))
    sealer.use(keys)
    new = sealer.seal(BEARER)
    assert [sealer.open(token, NOW_US) for token in (old, new)] == [BEARER, BEARER]
    assert SEALER.open(new, NOW_US) is None
    sealer.use(rotated(keys, NOW_US, (b"c" * 32, b"d" * 32), revoke=True))
    assert [sealer.open(token, NOW_US) for token in (old, new)] == [None, None]
    other = BearerSealer(bytes(32), SystemRng())
    other.use(rotated(BUILT_IN, NOW_US, (b"x" * 32, b"b" * 32)))  # a key of the same number
    assert other.open(new, NOW_US) is None


def test_a_secret_opens_only_in_the_record_it_was_sealed_for() -> None:
    box = SecretBox(bytes(32), SystemRng())
    sealed = box.seal(b"secret", "id1")
    assert box.open(sealed, "id1") == b"secret"
    assert box.open(sealed, "id2") is None
    assert box.open(b"", "id1") is None
    assert SecretBox(b"x" * 32, SystemRng()).open(sealed, "id1") is None
    assert b"secret" not in sealed
