"""Checksum headers: x-amz-checksum-*, x-amz-sdk-checksum-algorithm, Content-MD5, and their way back to the client."""

import base64
import binascii
from collections.abc import Mapping
from hashlib import md5

from objstore.core.checksums import COMPOSITE, DEFAULT, DIGEST_BYTES, FULL_OBJECT, digest_of, wrong_checksum, wrong_md5
from objstore.errors import InvalidDigest, InvalidRequest
from objstore.objects.api import Expected, ObjectInfo

HEADERS: Mapping[str, str] = {f"x-amz-checksum-{name}": name for name in DIGEST_BYTES}
ELEMENTS: Mapping[str, str] = {name: f"Checksum{name.upper()}" for name in DIGEST_BYTES}
_PREFIX = "x-amz-checksum-"
_NOT_ALGORITHMS = frozenset(("x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm"))
_HEADER_NAMES: Mapping[str, bytes] = {name: f"x-amz-checksum-{name}".encode() for name in DIGEST_BYTES}


_NOTHING_PROMISED = Expected(wanted=(DEFAULT,))


def decode_base64(text: str) -> bytes | None:
    """Strict base64, or None."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def parse_value(name: str, text: str) -> bytes:
    """A raw digest from its base64.  Raises InvalidRequest."""
    raw = decode_base64(text)
    if raw is None or len(raw) != DIGEST_BYTES[name]:
        raise InvalidRequest(f"Value for x-amz-checksum-{name} header is invalid.")
    return raw


def parse_md5(text: str | None) -> bytes | None:
    """Content-MD5.  Raises InvalidDigest."""
    if text is None:
        return None
    raw = decode_base64(text)
    if raw is None or len(raw) != 16:
        raise InvalidDigest("The Content-MD5 you specified was invalid.", digest=text)
    return raw


def trailer_algorithm(headers: Mapping[str, str]) -> str:
    """The algorithm announced in x-amz-trailer, or nothing."""
    announced = headers.get("x-amz-trailer", "").strip().lower()
    if not announced:
        return ""
    if announced not in HEADERS:
        raise InvalidRequest("The value specified in the x-amz-trailer header is not supported")
    return HEADERS[announced]


def algorithm_named(text: str | None, header: str) -> str:
    """An algorithm's name from a header that names one.  Raises InvalidRequest."""
    if text is None:
        return ""
    name = text.lower()
    if name not in DIGEST_BYTES:
        raise InvalidRequest(f"Checksum algorithm provided in {header} is unsupported. Please try again with any of the valid types.")
    return name


def expected_of(headers: Mapping[str, str], amz: Mapping[str, str], *, default: str = DEFAULT) -> Expected:
    """What a request promises of its body; without any promise `default` (if any) is computed.  Raises InvalidRequest, InvalidDigest."""
    found: dict[str, bytes] = {}
    trailer = ""
    if "x-amz-trailer" in amz:
        trailer = trailer_algorithm(amz)
    for header, text in amz.items():
        if header.startswith(_PREFIX) and header not in _NOT_ALGORITHMS:
            name = HEADERS.get(header)
            if name is None:
                raise InvalidRequest(f"The header {header} names no checksum algorithm.")
            found[name] = parse_value(name, text)
    if len(found) + bool(trailer) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    named = algorithm_named(amz.get("x-amz-sdk-checksum-algorithm"), "x-amz-sdk-checksum-algorithm")
    if named:
        if not found and not trailer:
            raise InvalidRequest(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            )
        if named not in found and named != trailer:
            raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    digest = parse_md5(headers.get("content-md5")) if "content-md5" in headers else None
    if digest is None and not found and not trailer and default == DEFAULT:
        return _NOTHING_PROMISED
    wanted = (trailer,) if trailer else () if found or not default else (default,)
    return Expected(digest, found, wanted)


def shown(info: ObjectInfo) -> tuple[str, str]:
    """Algorithm and text of the checksum that an object shows: the client's own rather than the one added for it."""
    checksums = info.checksums
    if not checksums:
        return "", ""
    name = next((name for name in checksums if name != DEFAULT), DEFAULT)
    text = base64.b64encode(checksums[name]).decode()
    return name, f"{text}-{info.part_count}" if info.checksum_type == COMPOSITE else text


def response_headers(info: ObjectInfo) -> list[tuple[bytes, bytes]]:
    """Checksum headers of an answer about a whole object."""
    name, text = shown(info)
    if not name:
        return []
    return [(_HEADER_NAMES[name], text.encode()), (b"x-amz-checksum-type", (info.checksum_type or FULL_OBJECT).encode())]


def part_headers(checksums: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    """Checksum headers of an answer about a part."""
    return [(_HEADER_NAMES[name], base64.b64encode(raw)) for name, raw in checksums.items() if name in _HEADER_NAMES]


def elements(checksums: Mapping[str, bytes]) -> str:
    """Checksum elements of a part in XML."""
    return "".join(
        f"<{ELEMENTS[name]}>{base64.b64encode(raw).decode()}</{ELEMENTS[name]}>" for name, raw in checksums.items() if name in ELEMENTS
    )


def check_document(data: bytes, expected: Expected, trailers: Mapping[str, bytes]) -> None:
    """Verify a document against everything that was promised of it.  Raises BadDigest."""
    if expected.md5 is not None and (found := md5(data, usedforsecurity=False).digest()) != expected.md5:
        raise wrong_md5(expected.md5, found)
    for name, raw in {**expected.checksums, **trailers}.items():
        if (found := digest_of(name, data)) != raw:
            raise wrong_checksum(name, raw, found)
