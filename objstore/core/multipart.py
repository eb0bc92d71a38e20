"""Multipart uploads: which attempts count, whether a list of parts completes an upload, and what comes of it; pure.

A part is written under a name of its own each time (ADR 5), so several attempts at one number can lie side by side.
The latest, by the ballot at which it was written, is the part; but an earlier attempt whose ETag the client names in
its list is what the client means, so it is taken: ballots of different names are ordered by clocks only.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import msgspec

from objstore.core import checksums
from objstore.core.etag import bare_etag, multipart_etag
from objstore.core.names import split_part_name
from objstore.core.rows import PartRef, Row, Space
from objstore.errors import EntityTooSmall, InvalidPart, InvalidPartOrder, InvalidRequest, MalformedXml

MIN_PART_BYTES = 5 * 1024 * 1024  # S3: every part but the last
RECORD_VERSION = 1


class UploadRecord(msgspec.Struct, frozen=True, array_like=True):
    """What an UPLOAD row keeps besides the attributes of the object to be.  New fields go last, with a default."""

    record_version: int
    checksum_algorithm: str  # always one; the default when the client named none
    checksum_type: str
    declared: bool  # whether the client named the algorithm
    completing: bytes = b""  # random mark of a completion under way; then parts are no longer dropped with the upload
    segments: bytes = b""  # of a static large object of Swift: what its parts were taken from, see fronts/swift/static.py


class PartRecord(msgspec.Struct, frozen=True, array_like=True):
    """What a PART row keeps besides its bytes: the key of the object it is meant for."""

    record_version: int
    key: bytes


class Stored(NamedTuple):
    """One attempt at a part, as stored."""

    name: bytes
    row: Row


class Claimed(Protocol):
    """One line of a client's list of parts, as `objects.api.CompletedPart` has it."""

    @property
    def number(self) -> int:
        """Part number."""

    @property
    def etag(self) -> str:
        """With or without quotes."""

    @property
    def checksums(self) -> Mapping[str, bytes]:
        """Algorithm -> raw digest; may be empty."""


def latest_attempts(attempts: Iterable[Stored]) -> list[Stored]:
    """The part of each number, in order of number, from attempts in any order."""
    latest: dict[int, Stored] = {}
    for attempt in attempts:
        number = split_part_name(attempt.name)[1]
        if number not in latest or attempt.row.origin > latest[number].row.origin:
            latest[number] = attempt
    return [latest[number] for number in sorted(latest)]


def choose_parts(claimed: Sequence[Claimed], attempts: Iterable[Stored], upload: UploadRecord, min_part_bytes: int) -> list[PartRef]:
    """The manifest of a completed upload.

    Raises MalformedXml for an empty list, InvalidPartOrder, InvalidPart (not uploaded, or another ETag or checksum),
    EntityTooSmall (a part but the last), InvalidRequest (checksums for some parts only).
    """
    if not claimed:
        raise MalformedXml("the list of parts is empty")
    if any(later.number <= earlier.number for earlier, later in pairwise(claimed)):
        raise InvalidPartOrder("the parts are not in ascending order")
    algorithm = upload.checksum_algorithm
    with_checksum = sum(algorithm in line.checksums for line in claimed)
    if upload.declared and 0 < with_checksum < len(claimed):
        raise InvalidRequest(f"some parts are listed with their {algorithm} and some without")
    by_number: dict[int, list[Stored]] = {}
    for attempt in attempts:
        by_number.setdefault(split_part_name(attempt.name)[1], []).append(attempt)
    chosen = [_match(line, by_number.get(line.number, [])) for line in claimed]
    for line, part in zip(claimed[:-1], chosen[:-1], strict=True):
        if part.row.size < min_part_bytes:
            raise EntityTooSmall(
                f"part {line.number} has {part.row.size} bytes; all but the last need {min_part_bytes}",
                size=part.row.size, min_size=min_part_bytes, number=line.number, etag=part.row.etag,
            )  # fmt: skip
    return [_part_ref(part, line.number, part.row.checksums.get(algorithm, b"")) for line, part in zip(claimed, chosen, strict=True)]


def _part_ref(part: Stored, number: int, checksum: bytes) -> PartRef:
    """What the manifest names: the part, or the body that its row names in the ring of a policy (ADR 11)."""
    row = part.row
    if row.parts:
        return msgspec.structs.replace(row.parts[0], number=number, checksum=checksum)
    return PartRef(space=Space.PARTS, name=part.name, size=row.size, etag=row.etag, origin=row.origin, number=number, checksum=checksum)


def _match(line: Claimed, attempts: Sequence[Stored]) -> Stored:
    etag = bare_etag(line.etag)
    matching = [a for a in attempts if a.row.etag == etag and all(a.row.checksums.get(n, d) == d for n, d in line.checksums.items())]
    if not matching:
        raise InvalidPart(f"part {line.number} was not uploaded, or its ETag or checksum is another", number=line.number, etag=etag)
    return max(matching, key=lambda a: a.row.origin)


def completed_etag(parts: Sequence[PartRef]) -> str:
    """The ETag of the object."""
    return multipart_etag(part.etag for part in parts)


def completed_checksum(upload: UploadRecord, parts: Sequence[PartRef]) -> bytes:
    """The checksum of the object in the upload's algorithm and type, from those of its parts."""
    if upload.checksum_type == checksums.FULL_OBJECT:
        return checksums.combine(upload.checksum_algorithm, ((part.checksum, part.size) for part in parts))
    return checksums.composite(upload.checksum_algorithm, [part.checksum for part in parts])


def check_promised(upload: UploadRecord, checksum: bytes, promised: Mapping[str, bytes]) -> None:
    """Compare the object's checksum with the one the client sent along.  Raises BadDigest, InvalidRequest."""
    for algorithm, digest in promised.items():
        if algorithm != upload.checksum_algorithm:
            raise InvalidRequest(f"the upload uses {upload.checksum_algorithm}, the request names {algorithm}")
        if digest != checksum:
            raise checksums.wrong_checksum(algorithm, digest, checksum)
