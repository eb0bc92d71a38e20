"""Access control lists: grants, the canned ones, who they let do what; and the two settings that overrule them.

A list names its owner and the bucket's owner by what they are, not by id (`OWNER`, `BUCKET_OWNER`): so a canned list can be
kept without knowing whose object it will be.  Others are named by canonical id, or are one of three groups.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import msgspec

from objstore.errors import InvalidArgument

RECORD_VERSION = 1
MAX_GRANTS = 100

# Kinds of grantees; short, since they are kept with every object that has a list.
OWNER = "o"  # whoever owns the object, or the bucket whose list it is
BUCKET_OWNER = "b"
USER = "u"  # by canonical id
ALL_USERS = "*"
AUTHENTICATED_USERS = "a"
LOG_DELIVERY = "l"

GROUPS = {
    "http://acs.amazonaws.com/groups/global/AllUsers": ALL_USERS,
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": AUTHENTICATED_USERS,
    "http://acs.amazonaws.com/groups/s3/LogDelivery": LOG_DELIVERY,
}
GROUP_URIS = {kind: uri for uri, kind in GROUPS.items()}

_HEADER_ITEM = re.compile(r"\s*(id|emailaddress|uri)\s*=\s*(?:\"([^\"]{0,1024})\"|([^\",\s]{1,1024}))\s*", re.IGNORECASE)


class Permission(Enum):
    """What a grant grants."""

    READ = "READ"
    WRITE = "WRITE"
    READ_ACP = "READ_ACP"
    WRITE_ACP = "WRITE_ACP"
    FULL_CONTROL = "FULL_CONTROL"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """One line: to whom (kind, and canonical id for USER), and what."""

    kind: str
    id: str
    permission: Permission


class Acl(msgspec.Struct, frozen=True, array_like=True):
    """A list as stored."""

    record_version: int
    grants: tuple[Grant, ...]


class Ownership(Enum):
    """Whose an object is that somebody else wrote, and whether lists count at all."""

    ENFORCED = "BucketOwnerEnforced"  # the bucket owner's; lists are off
    PREFERRED = "BucketOwnerPreferred"  # the bucket owner's if written with bucket-owner-full-control
    WRITER = "ObjectWriter"  # the writer's


class PublicAccessBlock(msgspec.Struct, frozen=True, array_like=True):
    """What overrules lists and policies that would let everybody in."""

    block_acls: bool = False  # refuse to set such lists
    ignore_acls: bool = False  # act as if they granted everybody nothing
    block_policy: bool = False  # refuse to set such policies
    restrict: bool = False  # while the policy is public, only the owner's account gets in by it


NO_BLOCK = PublicAccessBlock()


@dataclass(frozen=True, slots=True)
class Seeker:
    """Who wants in: canonical id (empty: anonymous), and what they are to the object or bucket."""

    canonical_id: str
    is_owner: bool = False
    is_bucket_owner: bool = False
    is_log_delivery: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Acl)
_block_decoder = msgspec.msgpack.Decoder(PublicAccessBlock)

PRIVATE = Acl(RECORD_VERSION, (Grant(OWNER, "", Permission.FULL_CONTROL),))
_CANNED: dict[str, tuple[tuple[str, Permission], ...]] = {
    "private": (),
    "public-read": ((ALL_USERS, Permission.READ),),
    "public-read-write": ((ALL_USERS, Permission.READ), (ALL_USERS, Permission.WRITE)),
    "authenticated-read": ((AUTHENTICATED_USERS, Permission.READ),),
    "bucket-owner-read": ((BUCKET_OWNER, Permission.READ),),
    "bucket-owner-full-control": ((BUCKET_OWNER, Permission.FULL_CONTROL),),
    "log-delivery-write": ((LOG_DELIVERY, Permission.WRITE), (LOG_DELIVERY, Permission.READ_ACP)),
}
BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"


def canned_acl(name: str) -> Acl:
    """The list behind a canned name.  Raises InvalidArgument."""
    found = _CANNED.get(name)
    if found is None:
        raise InvalidArgument(f"x-amz-acl must be one of {', '.join(_CANNED)}", argument="x-amz-acl", value=name)
    return Acl(RECORD_VERSION, PRIVATE.grants + tuple(Grant(kind, "", permission) for kind, permission in found))


def acl_of(grants: Iterable[Grant]) -> Acl:
    """A list of these grants.  Raises InvalidArgument for more than 100."""
    made = tuple(grants)
    if len(made) > MAX_GRANTS:
        raise InvalidArgument(f"an access control list may have {MAX_GRANTS} grants, not {len(made)}")
    return Acl(RECORD_VERSION, made)


def of_bucket(acl: Acl) -> Acl:
    """The list as one of a bucket, whose owner is the bucket's owner."""
    return Acl(acl.record_version, tuple(grant for grant in acl.grants if grant.kind != BUCKET_OWNER))


def encode_acl(acl: Acl) -> bytes:
    """A list as it is kept; the owner's alone takes no room."""
    return b"" if acl == PRIVATE else _encoder.encode(acl)


def decode_acl(data: bytes) -> Acl:
    """The list that was kept."""
    return _decoder.decode(data) if data else PRIVATE


def encode_block(block: PublicAccessBlock) -> bytes:
    """The public access block as it is kept."""
    return _encoder.encode(block)


def decode_block(data: bytes) -> PublicAccessBlock:
    """The public access block that was kept."""
    return _block_decoder.decode(data)


def is_public(acl: Acl) -> bool:
    """Whether everybody, or everybody with an account, is granted anything."""
    return any(grant.kind in (ALL_USERS, AUTHENTICATED_USERS) for grant in acl.grants)


def grants(acl: Acl, permission: Permission, seeker: Seeker, *, ignore_public: bool = False) -> bool:
    """Whether the list gives the seeker a permission."""
    for grant in acl.grants:
        if grant.permission is not permission and grant.permission is not Permission.FULL_CONTROL:
            continue
        kind = grant.kind
        if kind == USER:
            fits = bool(seeker.canonical_id) and grant.id == seeker.canonical_id
        elif kind == OWNER:
            fits = seeker.is_owner
        elif kind == BUCKET_OWNER:
            fits = seeker.is_bucket_owner
        elif kind == ALL_USERS:
            fits = not ignore_public
        elif kind == AUTHENTICATED_USERS:
            fits = not ignore_public and bool(seeker.canonical_id)
        else:
            fits = kind == LOG_DELIVERY and seeker.is_log_delivery
        if fits:
            return True
    return False


def parse_grant_header(value: str) -> list[tuple[str, str]]:
    """`id="...", uri="...", emailAddress="..."` as (lower-case kind, value) pairs.  Raises InvalidArgument."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(value):
        match = _HEADER_ITEM.match(value, position)
        if match is None or len(found) >= MAX_GRANTS:
            raise InvalidArgument("Argument format not recognized")
        quoted, bare = match.group(2), match.group(3)
        found.append((match.group(1).lower(), quoted if quoted is not None else bare))
        position = match.end()
        if position < len(value):
            if value[position] != "," or position + 1 == len(value):
                raise InvalidArgument("Argument format not recognized")
            position += 1
    if not found:
        raise InvalidArgument("Argument format not recognized")
    return found
