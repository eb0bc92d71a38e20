"""ETags: the MD5 of the bytes for whole objects, MD5 of the parts' MD5s with their count for multipart ones; pure."""

import hashlib
import re
from collections.abc import Iterable

_ENTITY_TAG = re.compile(r'(?:W/)?(?:"([^"]*)"|([^\s,"]+))')  # linear: each byte is looked at once or twice
_MD5_HEX = re.compile(r"[0-9a-f]{32}", re.ASCII)


def md5_etag(data: bytes | memoryview) -> str:
    """The ETag of bytes that are all here."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def multipart_etag(part_etags: Iterable[str]) -> str:
    """The ETag that S3 gives a multipart object: hex MD5 over the raw MD5s of its parts, a hyphen, their number."""
    digests = [bytes.fromhex(etag) for etag in part_etags]
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def segments_etag(etags: Iterable[str]) -> str:
    """The ETag of a static large object: hex MD5 over the ETags of its segments as Swift has it, then as S3 marks what has parts."""
    found = list(etags)
    return f"{hashlib.md5(''.join(found).encode(), usedforsecurity=False).hexdigest()}-{len(found)}"


def bare_etag(text: str) -> str:
    """The ETag without quotes, as clients send it with or without (some leave one quote off; S3 accepts that too)."""
    return text.strip().strip('"')


def is_md5_etag(text: str) -> bool:
    """Whether the ETag is a plain MD5, so that `multipart_etag` can use it."""
    return _MD5_HEX.fullmatch(text) is not None


def parse_etags(header: str) -> tuple[str, ...]:
    """The entity tags of an If-Match or If-None-Match header, bare; weak ones lose their mark; "*" stays as it is."""
    stripped = header.strip()
    found = tuple(quoted or plain for quoted, plain in _ENTITY_TAG.findall(stripped))
    return found or (bare_etag(stripped),)
