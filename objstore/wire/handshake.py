"""Mutual authentication from the cluster key, before anything else is read.  Sans-IO.

    dialer                                   listener
    HELLO(version, name, nonce)         ->
                                        <-   CHALLENGE(version, name, nonce)
    PROOF(HMAC over the transcript)     ->
                                        <-   WELCOME(HMAC over the transcript)   or   REFUSE(reason), then close

Each proof is HMAC-SHA256 under the cluster key over: a label with the prover's role, the protocol version, both names
and both nonces, each with its length.  The role keeps a proof from being reflected, the nonces from being replayed.
The dialer proves itself first, so that a stranger who connects gets no value made with the key.  What follows is not
encrypted: the key keeps strangers out, a private network or TLS keeps eavesdroppers away.  These five frames stay as
they are in all protocol versions, so that any two versions can tell each other why they part.
"""

import hashlib
import hmac
from typing import TypeVar

import msgspec

from objstore.errors import InvalidArgument, ProtocolMismatch
from objstore.wire.codec import CHALLENGE, HELLO, PROOF, REFUSE, WELCOME, BadFrame, Buffer, pack_frame
from objstore.wire.messages import PROTOCOL_VERSION

NONCE_BYTES = 32
MAX_NAME_BYTES = 255
# A listener gives strangers this long, a dialer waits no longer for the other's answer.
HANDSHAKE_TIMEOUT_S = 5.0

T = TypeVar("T")
_DIALER = b"objstore wire: dialer"
_LISTENER = b"objstore wire: listener"


class _Greeting(msgspec.Struct, frozen=True, array_like=True):
    """Head of HELLO and CHALLENGE."""

    version: int
    name: str
    nonce: bytes


class _Proof(msgspec.Struct, frozen=True, array_like=True):
    """Head of PROOF and WELCOME."""

    proof: bytes


class _Refusal(msgspec.Struct, frozen=True, array_like=True):
    """Head of REFUSE."""

    version: int
    reason: str


_encode = msgspec.msgpack.Encoder().encode
_greeting = msgspec.msgpack.Decoder(_Greeting)
_proof = msgspec.msgpack.Decoder(_Proof)
_refusal = msgspec.msgpack.Decoder(_Refusal)


def check_key(cluster_key: bytes) -> None:
    """Raises InvalidArgument when there is no key: an open storage port is never what anybody wants."""
    if not cluster_key:
        raise InvalidArgument("the cluster key is empty: refusing to start; set one secret for the whole cluster")


class DialerHandshake:
    """The side that connected.  Send `first()`, then what `receive` returns, until `peer` is set."""

    def __init__(self, cluster_key: bytes, name: str, nonce: bytes, *, version: int = PROTOCOL_VERSION) -> None:
        check_key(cluster_key)
        self.peer: str | None = None  # the listener's name, once it has proved itself
        self._key = cluster_key
        self._hello = _greet(version, name, nonce)
        self._challenge: _Greeting | None = None

    def first(self) -> bytes:
        """The frame that opens the conversation."""
        return pack_frame(HELLO, 0, 0, _encode(self._hello))

    def receive(self, code: int, head: Buffer) -> bytes:
        """Take the next frame; returns what to send, empty at the end.

        Raises ProtocolMismatch when the sides do not fit, BadFrame for anything that is no handshake.
        """
        if code == REFUSE:
            refusal = _decode(_refusal, head)
            raise ProtocolMismatch(f"refused by the listener: {refusal.reason}", version=refusal.version)
        if code == CHALLENGE and self._challenge is None:
            challenge = _decode_greeting(head)
            if challenge.version != self._hello.version:
                raise ProtocolMismatch(
                    f"{challenge.name!r} speaks protocol version {challenge.version}, this side {self._hello.version}",
                    version=challenge.version,
                )
            self._challenge = challenge
            return pack_frame(PROOF, 0, 0, _encode(_Proof(_prove(self._key, _DIALER, self._hello, challenge))))
        if code == WELCOME and self._challenge is not None:
            expected = _prove(self._key, _LISTENER, self._hello, self._challenge)
            if not hmac.compare_digest(expected, _decode(_proof, head).proof):
                raise ProtocolMismatch(f"{self._challenge.name!r} does not hold this cluster's key")
            self.peer = self._challenge.name
            return b""
        raise BadFrame(f"a frame of type {code} in the middle of the handshake")


class ListenerHandshake:
    """The side that was connected to.  Send what `receive` returns, until `peer` is set."""

    def __init__(self, cluster_key: bytes, name: str, nonce: bytes, *, version: int = PROTOCOL_VERSION) -> None:
        check_key(cluster_key)
        self.peer: str | None = None  # the dialer's name, once it has proved itself
        self._key = cluster_key
        self._challenge = _greet(version, name, nonce)
        self._hello: _Greeting | None = None

    def receive(self, code: int, head: Buffer) -> bytes:
        """Take the next frame; returns what to send.  Raises ProtocolMismatch (send `refusal`, close) or BadFrame."""
        if code == HELLO and self._hello is None:
            hello = _decode_greeting(head)
            if hello.version != self._challenge.version:
                raise ProtocolMismatch(
                    f"{hello.name!r} speaks protocol version {hello.version}, {self._challenge.name!r} {self._challenge.version}",
                    version=hello.version,
                )
            self._hello = hello
            return pack_frame(CHALLENGE, 0, 0, _encode(self._challenge))
        if code == PROOF and self._hello is not None:
            expected = _prove(self._key, _DIALER, self._hello, self._challenge)
            if not hmac.compare_digest(expected, _decode(_proof, head).proof):
                raise ProtocolMismatch(f"{self._hello.name!r} does not hold the cluster key of {self._challenge.name!r}")
            self.peer = self._hello.name
            return pack_frame(WELCOME, 0, 0, _encode(_Proof(_prove(self._key, _LISTENER, self._hello, self._challenge))))
        raise BadFrame(f"a frame of type {code} before authentication")

    def refusal(self, mismatch: ProtocolMismatch) -> bytes:
        """The frame that tells the dialer why it is turned away."""
        return pack_frame(REFUSE, 0, 0, _encode(_Refusal(self._challenge.version, mismatch.message[:512])))


def _greet(version: int, name: str, nonce: bytes) -> _Greeting:
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidArgument(f"a node's name has at most {MAX_NAME_BYTES} bytes")
    return _Greeting(version, name, nonce)


def _decode_greeting(head: Buffer) -> _Greeting:
    greeting = _decode(_greeting, head)
    if len(greeting.nonce) != NONCE_BYTES or len(greeting.name.encode()) > MAX_NAME_BYTES:
        raise BadFrame("a greeting with a nonce or name of the wrong length")
    return greeting


def _prove(key: bytes, role: bytes, hello: _Greeting, challenge: _Greeting) -> bytes:
    fields = (
        role,
        hello.version.to_bytes(8, "big"),
        hello.name.encode(),
        hello.nonce,
        challenge.version.to_bytes(8, "big"),
        challenge.name.encode(),
        challenge.nonce,
    )
    transcript = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hmac.new(key, transcript, hashlib.sha256).digest()


def _decode(decoder: "msgspec.msgpack.Decoder[T]", head: Buffer) -> T:
    try:
        return decoder.decode(head)
    except msgspec.MsgspecError as failure:
        raise BadFrame(f"a handshake frame does not decode: {failure}") from failure
