"""Session tokens open to what was sealed, or not at all."""

import base64

from objstore.identity.tokens import MAX_TOKEN_CHARS, Session, TokenSealer
from objstore.runtime.rng import SystemRng

KEY = bytes(range(32))
SESSION = Session(1, "ASIAX", "hush", "acc", "role/r", "AROA1", "work", 100, 200, ('{"Statement":[]}',), {"aws:username": "x"})


def test_a_token_opens_to_its_session_on_every_proxy_of_the_cluster_and_nowhere_else() -> None:
    token = TokenSealer(KEY, SystemRng()).seal(SESSION)
    assert TokenSealer(KEY, SystemRng()).open(token) == SESSION
    assert TokenSealer(bytes(32), SystemRng()).open(token) is None
    assert TokenSealer(KEY, SystemRng()).seal(SESSION) != token
    assert b"hush" not in base64.b64decode(token)
    assert "hush" not in repr(SESSION)


def test_no_changed_bit_and_no_shorter_token_opens() -> None:
    sealer = TokenSealer(KEY, SystemRng())
    data = base64.b64decode(sealer.seal(SESSION))
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert sealer.open(base64.b64encode(bytes(changed)).decode()) is None, bit
    for size in range(len(data)):
        assert sealer.open(base64.b64encode(data[:size]).decode()) is None


def test_anything_else_is_no_token() -> None:
    sealer = TokenSealer(KEY, SystemRng())
    for text in ("", "x", "ä", "A" * (MAX_TOKEN_CHARS + 4), "AQ==", "not base64!"):
        assert sealer.open(text) is None
