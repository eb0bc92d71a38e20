import pytest

from objstore.errors import InvalidArgument, ProtocolMismatch
from objstore.wire import codec
from objstore.wire.codec import BadFrame, FrameReader
from objstore.wire.handshake import MAX_NAME_BYTES, DialerHandshake, ListenerHandshake

KEY = b"key"
ONE, TWO = b"1" * 32, b"2" * 32


def opened(data: bytes) -> tuple[int, bytes]:
    frames: list[tuple[int, bytes]] = []
    FrameReader(lambda _r, code, _f, head, _p: frames.append((code, bytes(head))), limit_bytes=1024).feed(data)
    return frames[0]


def sides(**changes: bytes) -> tuple[DialerHandshake, ListenerHandshake]:
    return DialerHandshake(changes.get("dialer", KEY), "proxy", ONE), ListenerHandshake(changes.get("listener", KEY), "node", TWO)


def test_two_that_hold_the_key_know_each_others_names() -> None:
    dialer, listener = sides()
    challenge = listener.receive(*opened(dialer.first()))
    proof = dialer.receive(*opened(challenge))
    assert listener.peer is None
    welcome = listener.receive(*opened(proof))
    assert listener.peer == "proxy"
    assert dialer.peer is None
    assert dialer.receive(*opened(welcome)) == b""
    assert dialer.peer == "node"


def test_a_dialer_with_another_key_gets_a_reason_and_nothing_made_with_the_key() -> None:
    dialer, listener = sides(dialer=b"another")
    challenge = listener.receive(*opened(dialer.first()))
    with pytest.raises(ProtocolMismatch) as mismatch:
        listener.receive(*opened(dialer.receive(*opened(challenge))))
    assert listener.peer is None
    with pytest.raises(ProtocolMismatch, match="cluster key"):
        dialer.receive(*opened(listener.refusal(mismatch.value)))
    assert codec.WELCOME not in (opened(challenge)[0], opened(listener.refusal(mismatch.value))[0])


def test_a_listener_with_another_key_is_found_out() -> None:
    dialer, honest = sides()
    impostor = ListenerHandshake(b"another", "node", TWO)
    challenge = impostor.receive(*opened(dialer.first()))
    honest.receive(*opened(dialer.first()))
    dialer.receive(*opened(challenge))
    # The impostor cannot check the proof, so it says welcome with what it has.
    other_dialer = DialerHandshake(b"another", "proxy", ONE)
    welcome = impostor.receive(*opened(other_dialer.receive(*opened(challenge))))
    with pytest.raises(ProtocolMismatch, match="does not hold"):
        dialer.receive(*opened(welcome))
    assert dialer.peer is None


@pytest.mark.parametrize("newer", ["dialer", "listener"])
def test_another_protocol_version_is_refused_by_name_on_both_sides(newer: str) -> None:
    dialer = DialerHandshake(KEY, "proxy", ONE, version=2 if newer == "dialer" else 1)
    listener = ListenerHandshake(KEY, "node", TWO, version=2 if newer == "listener" else 1)
    with pytest.raises(ProtocolMismatch, match="version") as mismatch:
        listener.receive(*opened(dialer.first()))
    with pytest.raises(ProtocolMismatch, match="speaks protocol version"):
        dialer.receive(*opened(listener.refusal(mismatch.value)))


def test_a_dialer_checks_the_version_of_the_challenge_itself() -> None:
    dialer = DialerHandshake(KEY, "proxy", ONE)
    listener = ListenerHandshake(KEY, "node", TWO, version=2)
    challenge = listener.receive(*opened(DialerHandshake(KEY, "proxy", ONE, version=2).first()))
    with pytest.raises(ProtocolMismatch, match="version 2"):
        dialer.receive(*opened(challenge))


def test_a_proof_cannot_be_replayed_against_another_nonce() -> None:
    dialer, listener = sides()
    proof = dialer.receive(*opened(listener.receive(*opened(dialer.first()))))
    second = ListenerHandshake(KEY, "node", b"3" * 32)
    second.receive(*opened(dialer.first()))
    with pytest.raises(ProtocolMismatch):
        second.receive(*opened(proof))


def test_a_listeners_own_welcome_does_not_serve_as_a_proof() -> None:
    dialer, listener = sides()
    proof = dialer.receive(*opened(listener.receive(*opened(dialer.first()))))
    _, welcome_head = opened(listener.receive(*opened(proof)))
    reflected = ListenerHandshake(KEY, "node", TWO)
    reflected.receive(*opened(dialer.first()))
    with pytest.raises(ProtocolMismatch):
        reflected.receive(codec.PROOF, welcome_head)


def test_frames_out_of_turn_break_the_protocol() -> None:
    dialer, listener = sides()
    with pytest.raises(BadFrame):
        listener.receive(codec.PROOF, b"\x91\xc4\x00")
    with pytest.raises(BadFrame):
        listener.receive(1, b"")
    with pytest.raises(BadFrame):
        dialer.receive(codec.WELCOME, b"\x91\xc4\x00")
    listener.receive(*opened(dialer.first()))
    with pytest.raises(BadFrame):
        listener.receive(*opened(dialer.first()))


def test_garbage_in_a_handshake_breaks_the_protocol() -> None:
    _, listener = sides()
    for head in (b"", b"\xc1", b"\x93\x01\xa1x\xc4\x01y"):
        with pytest.raises(BadFrame):
            listener.receive(codec.HELLO, head)


def test_an_empty_key_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidArgument, match="empty"):
        DialerHandshake(b"", "proxy", ONE)
    with pytest.raises(InvalidArgument, match="empty"):
        ListenerHandshake(b"", "node", TWO)


def test_names_have_a_limit_and_nonces_one_length() -> None:
    DialerHandshake(KEY, "n" * MAX_NAME_BYTES, ONE)
    with pytest.raises(InvalidArgument):
        DialerHandshake(KEY, "n" * (MAX_NAME_BYTES + 1), ONE)
    with pytest.raises(ValueError, match="nonce"):
        DialerHandshake(KEY, "proxy", b"short")
