"""Access logs of buckets: the configuration, Amazon's line for a request, names of the objects that lines go into; pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from objstore.core.acl import Grant

SIMPLE = ""
BY_EVENT = "EventTime"
BY_DELIVERY = "DeliveryTime"
_LONGEST_FIELD = 2048


class LoggingConfig(msgspec.Struct, frozen=True, array_like=True):
    """Where the log of a bucket goes.  New fields go last, with a default."""

    record_version: int
    bucket: str
    prefix: str
    partitioned: str = SIMPLE  # or BY_EVENT, BY_DELIVERY: keys hold account, region, bucket and date
    plain_format: bool = False  # whether the client wrote <SimplePrefix/> itself
    grants: tuple[Grant, ...] = ()  # what others may do to the objects that lines go into


class Access(NamedTuple):
    """One request that was answered."""

    owner: str
    bucket: str
    time_us: int
    source_ip: str
    requester: str
    request_id: str
    operation: str
    key: str
    uri: str
    status: int
    error: str
    bytes_sent: int
    total_ms: int
    referer: str
    user_agent: str
    version_id: str
    host_id: str
    signature: str
    auth: str
    host: str
    secure: bool


_DECODER = msgspec.msgpack.Decoder(LoggingConfig)


def encode(config: LoggingConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> LoggingConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def line(access: Access) -> str:
    """Amazon's server access log format, 26 fields; "-" stands for nothing."""
    at = datetime.fromtimestamp(access.time_us // 1_000_000, UTC)
    fields: Sequence[str] = (
        access.owner, access.bucket, f"[{at:%d/%b/%Y:%H:%M:%S +0000}]", _plain(access.source_ip), _plain(access.requester), access.request_id,
        access.operation, quote(access.key, safe="/-_.~"), _quoted(access.uri), str(access.status), access.error,
        str(access.bytes_sent or ""), "", str(access.total_ms), "", _quoted(access.referer), _quoted(access.user_agent), _plain(access.version_id),
        access.host_id, access.signature, "", access.auth, access.host, "TLSv1.3" if access.secure else "", "", "",
    )  # fmt: skip
    return " ".join([field or "-" for field in fields]) + "\n"


def _plain(text: str) -> str:
    """Without blanks and line ends, which would begin fields and lines of their own."""
    return quote(text[:_LONGEST_FIELD], safe="/:=@+,.-_~")


def _quoted(text: str) -> str:
    """In quotes, with what would end them or the line written as escapes; as it came otherwise."""
    if not text:
        return ""
    safe = "".join([char if " " <= char <= "~" and char not in '"\\' else f"\\x{ord(char):02x}" for char in text[:_LONGEST_FIELD]])
    return f'"{safe}"'


def log_key(config: LoggingConfig, account: str, region: str, bucket: str, *, first_us: int, now_us: int, unique: str) -> str:
    """The name of the object that a batch of lines goes into; `first_us` is the time of its first line."""
    stamp = f"{datetime.fromtimestamp(now_us // 1_000_000, UTC):%Y-%m-%d-%H-%M-%S}-{unique}"
    if config.partitioned == SIMPLE:
        return config.prefix + stamp
    day = datetime.fromtimestamp((first_us if config.partitioned == BY_EVENT else now_us) // 1_000_000, UTC)
    return f"{config.prefix}{account}/{region}/{bucket}/{day:%Y/%m/%d}/{stamp}"
