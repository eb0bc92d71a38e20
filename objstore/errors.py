"""The error taxonomy: four kinds, by who must act.  There is no HTTP in here.

`Refused`: the caller is wrong and nothing changed.  `Unavailable`: try again, the outcome may be unknown.  `Damaged`:
bytes on a disk are wrong; quarantine and repair, never shown raw.  Everything else is a bug and ends at the process
edge.  Each class keeps its facts as attributes; HTTP status and S3 codes live in `fronts/*/errors.py`, one table each,
and a test demands a row there for every leaf class below.
"""


class ObjstoreError(Exception):
    """Base of all expected errors; `message` says what, why and what to do next."""

    def __init__(self, message: str = "", **facts: object) -> None:
        self.message = message or type(self).__doc__ or type(self).__name__
        super().__init__(self.message)
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)


class Refused(ObjstoreError):
    """The caller is wrong; nothing changed."""


class Unavailable(ObjstoreError):
    """Try again later; a write's outcome may be unknown."""


class Damaged(ObjstoreError):
    """Stored bytes do not match their checksum; answered from another replica and healed."""


# -- Refused: names, buckets, objects -------------------------------------------------------------------------


class NoSuchBucket(Refused):
    """There is no bucket of that name."""


class NoSuchKey(Refused):
    """There is no object of that name."""


class NoSuchVersion(Refused):
    """There is no such version of the object."""


class VersionIsMarker(Refused):
    """The version named is a delete marker.  Facts: marker, its version id; modified_us."""


class NoSuchConfig(Refused):
    """The bucket has no such configuration.  Fact: part, the name of the sub-resource."""


class NoSuchUpload(Refused):
    """The multipart upload does not exist: it was completed, aborted or never begun."""


class BucketAlreadyOwnedByYou(Refused):
    """The bucket exists and belongs to the caller."""


class BucketAlreadyExists(Refused):
    """The bucket name is claimed by another account."""


class BucketNotEmpty(Refused):
    """The bucket still holds objects."""


class InvalidBucketName(Refused):
    """A bucket name has 3 to 63 of a-z, 0-9, dots and hyphens and is no IPv4 address."""


class KeyTooLong(Refused):
    """An object key is at most 1,024 bytes of UTF-8."""


class InvalidKey(Refused):
    """An object key must be valid UTF-8 and not empty."""


class MetadataTooLarge(Refused):
    """User metadata is limited to 2 KiB."""


class EntityTooLarge(Refused):
    """The body is larger than the limit for one request."""


class EntityTooSmall(Refused):
    """A part other than the last is smaller than 5 MiB."""


class InvalidPart(Refused):
    """A part named in the list was not uploaded, or its etag differs."""


class InvalidPartNumber(Refused):
    """An object was asked for a part that it does not have.  Facts: part_number, part_count."""


class InvalidPartOrder(Refused):
    """The list of parts is not in ascending order."""


class InvalidArgument(Refused):
    """An argument has a value outside its allowed set."""


class MalformedPolicy(Refused):
    """A policy cannot be understood, or may not say what it says; the message is AWS's where there is one."""


class AclAgainstOwnership(Refused):
    """An access control list and an ownership setting that turns such lists off do not go together."""


class AclAgainstBlock(Refused):
    """A bucket cannot be made with a public access control list and a block of such lists."""


class AclNotSupported(Refused):
    """The bucket's ownership setting turns access control lists off."""


class InvalidRequest(Refused):
    """The request contradicts itself or asks for something meaningless."""


class InvalidWriteOffset(Refused):
    """Bytes can be appended at the end of an object only.  Fact: size_bytes."""


class TooManyParts(Refused):
    """An object that is appended to has too many pieces.  Fact: limit."""


class InvalidRange(Refused):
    """The range cannot be satisfied.  Fact: size_bytes."""


class QuotaExceeded(Refused):
    """The bucket has no room for this: its quota is used up."""


# -- Refused: conditions and bodies ---------------------------------------------------------------------------


class PreconditionFailed(Refused):
    """A condition of the request does not hold.  Fact: condition, the header's name."""


class NotModified(Refused):
    """The object is as the caller knows it.  Facts: etag, modified_us; headers, where those that are kept with the object are known."""


class ConditionalConflict(Refused):
    """A concurrent conditional write got in between; try again."""


class InvalidBucketState(Refused):
    """The bucket is not in a state in which this can be done."""


class InvalidRetentionPeriod(Refused):
    """A retention is too short or too long."""


class IncompleteBody(Refused):
    """The body ended before its announced length."""


class BadDigest(Refused):
    """The body does not match the checksum that was sent with it."""


class InvalidDigest(Refused):
    """The checksum header is not a well-formed digest."""


class MalformedXml(Refused):
    """The XML document is not well-formed or not what this operation takes."""


# -- Refused: who ---------------------------------------------------------------------------------------------


class AccessDenied(Refused):
    """The caller may not do this."""


class NotImplementedHere(Refused):
    """The feature is not built."""


class KeyNotFound(Refused):
    """There is no master key of that name.  Fact: key_id."""


# -- Refused inside the cluster -------------------------------------------------------------------------------


class StaleEpoch(Refused):
    """The sender's ring is older than the receiver's.  Fact: epoch, the receiver's."""


class NewerEpoch(Refused):
    """The sender's ring is newer than the receiver's; send the ring, then try again.  Fact: epoch, the receiver's."""


class WrongIncarnation(Refused):
    """The device was wiped or replaced since the ring was made; it has no vote."""


class NoSuchDevice(Refused):
    """The node does not hold that device."""


class BallotTooFarAhead(Refused):
    """The ballot's clock is more than a minute ahead of the node's.  Fact: wall_us, the node's."""


class ProtocolMismatch(Refused):
    """The peer speaks another protocol version or holds another cluster key."""


# -- Unavailable ----------------------------------------------------------------------------------------------


class QuorumLost(Unavailable):
    """Too few replicas answered in time."""


class OutcomeUnknown(Unavailable):
    """The write may or may not have taken effect; read before writing again."""


class NodeUnreachable(Unavailable):
    """The storage node does not answer."""


class DeadlineExceeded(Unavailable):
    """The operation ran out of time."""


class DeviceFull(Unavailable):
    """The device has no room left."""


class DeviceOffline(Unavailable):
    """The device is out of service after an I/O error, or is being refilled."""


class TooBusy(Unavailable):
    """A queue is full; slow down."""


class KeyServiceUnavailable(Unavailable):
    """The service that holds the master keys does not answer, or not as it should."""


# -- Damaged --------------------------------------------------------------------------------------------------


class DamagedBody(Damaged):
    """An object's bytes do not match their checksum."""


class DamagedRow(Damaged):
    """A row does not match its checksum."""


class DamagedFile(Damaged):
    """A file's header or structure is wrong."""
