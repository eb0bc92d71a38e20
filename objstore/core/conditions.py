"""Conditional requests: whether a read or a write goes on; pure.

ETags come bare.  Dates on the wire have whole seconds, so times are compared in seconds: an object modified within the
second that a client names counts as not modified since (RFC 9110, section 13).
"""

from collections.abc import Sequence
from typing import Protocol

from objstore.core.container_sync import is_newer
from objstore.core.rows import Row, is_live
from objstore.core.versions import modified_us
from objstore.errors import NoSuchKey, NotModified, PreconditionFailed

_SECOND_US = 1_000_000


class Asked(Protocol):
    """Conditions of a request, as `objects.api.Conditions` has them."""

    @property
    def if_match(self) -> tuple[str, ...] | None:
        """ETags one of which must be the object's; "*" is any."""

    @property
    def if_none_match(self) -> tuple[str, ...] | None:
        """ETags none of which may be the object's; "*" is any."""

    @property
    def if_modified_since_us(self) -> int | None:
        """Microseconds since 1970."""

    @property
    def if_unmodified_since_us(self) -> int | None:
        """Microseconds since 1970."""

    @property
    def if_match_size(self) -> int | None:
        """Bytes."""

    @property
    def if_match_modified_us(self) -> int | None:
        """Microseconds since 1970."""


def etag_listed(etag: str, listed: Sequence[str]) -> bool:
    """Whether an existing object's ETag is among those listed."""
    return "*" in listed or etag in listed


def check_read(asked: Asked, etag: str, modified_us: int) -> None:
    """Judge a GET or HEAD of an object that exists.

    If-Match decides in place of If-Unmodified-Since, If-None-Match in place of If-Modified-Since.  Raises
    PreconditionFailed (fact: condition) or NotModified (facts: etag, modified_us).
    """
    modified_s = modified_us // _SECOND_US
    if asked.if_match is not None:
        if not etag_listed(etag, asked.if_match):
            raise PreconditionFailed("the object's ETag is another", condition="If-Match")
    elif asked.if_unmodified_since_us is not None and modified_s > asked.if_unmodified_since_us // _SECOND_US:
        raise PreconditionFailed("the object was modified since", condition="If-Unmodified-Since")
    if asked.if_none_match is not None:
        if etag_listed(etag, asked.if_none_match):
            raise NotModified("the object's ETag is the one named", etag=etag, modified_us=modified_us)
    elif asked.if_modified_since_us is not None and modified_s <= asked.if_modified_since_us // _SECOND_US:
        raise NotModified("the object was not modified since", etag=etag, modified_us=modified_us)


def check_copy_source(asked: Asked, etag: str, modified_us: int) -> None:
    """Judge the source of a copy: the same rules, but what does not hold is always PreconditionFailed."""
    try:
        check_read(asked, etag, modified_us)
    except NotModified as refusal:
        name = "If-None-Match" if asked.if_none_match is not None else "If-Modified-Since"
        raise PreconditionFailed(refusal.message, condition=f"x-amz-copy-source-{name}") from None


def check_write(asked: Asked, current: Row | None) -> None:
    """Judge a PUT, DELETE or the end of an upload against the row it would replace; a deleted object is absent.

    If-Match decides in place of If-Unmodified-Since; If-Modified-Since does not condition writes (RFC 9110, section 13).  Size and time
    of an object to delete are those of one that is there.  Raises NoSuchKey where an ETag must match on an absent key (as S3 does),
    PreconditionFailed otherwise.
    """
    present = current is not None and is_live(current)
    etag = current.etag if current is not None else ""
    if asked.if_match is not None:
        if not present:
            raise NoSuchKey("If-Match names an ETag, but there is no object")
        if not etag_listed(etag, asked.if_match):
            raise PreconditionFailed("the object's ETag is another", condition="If-Match")
    if current is None or not present:
        return
    modified_s, unmodified_us = modified_us(current) // _SECOND_US, asked.if_unmodified_since_us
    if asked.if_match is None and unmodified_us is not None and modified_s > unmodified_us // _SECOND_US:
        raise PreconditionFailed("the object was modified since", condition="If-Unmodified-Since")
    if asked.if_none_match is not None and etag_listed(etag, asked.if_none_match):
        raise PreconditionFailed("an object that If-None-Match excludes exists", condition="If-None-Match")
    if asked.if_match_size is not None and asked.if_match_size != current.size:
        raise PreconditionFailed("the object's size is another", condition="x-amz-if-match-size")
    if asked.if_match_modified_us is not None and asked.if_match_modified_us // _SECOND_US != modified_s:
        raise PreconditionFailed("the object was last modified at another time", condition="x-amz-if-match-last-modified-time")


def check_as_of(as_of_us: int | None, current: Row | None) -> None:
    """Judge a write that was made elsewhere at a time: what is there, be it a tombstone, must be older.  Raises PreconditionFailed."""
    if as_of_us is not None and current is not None and not is_newer(as_of_us, modified_us(current)):
        raise PreconditionFailed("what is there is as new as that", condition="X-Timestamp")
