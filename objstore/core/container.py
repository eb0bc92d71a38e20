"""What Swift says of a container besides its name: lists and metadata, as they are kept with the bucket; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from objstore.core.account_acl import AccountAcl
from objstore.core.container_acl import normal_acl
from objstore.core.quota import QuotaConfig, Usage
from objstore.errors import InvalidRequest

RECORD_VERSION = 1
METADATA_LIMIT_BYTES = 4096  # of one container or account, names and values together
METADATA_LIMIT_COUNT = 90
RFC_ETAGS = "rfc-compliant-etags"  # a hidden setting: "true", "false"
CLASS_PART = "storageClass"  # of a bucket's configuration: the storage class of objects whose writer names none
OWNERS_NAMES = frozenset(("temp-url-key", "temp-url-key-2"))  # metadata that is shown to, and set by, owners alone


class Container(msgspec.Struct, frozen=True, array_like=True):
    """Kept in the bucket's configuration.  `read` and `write` in the normal form of container_acl.py; metadata by lower-case name."""

    record_version: int = RECORD_VERSION
    read: str = ""
    write: str = ""
    metadata: dict[str, str] = {}
    archive: str = ""  # the container that older versions are copied to
    history: bool = False  # whether that is a record; else it is a stack
    hidden: dict[str, str] = {}  # settings that are no metadata, by name


@dataclass(frozen=True)
class AccountInfo:
    """An account as its users see it."""

    metadata: Mapping[str, str]
    containers: int
    usage: Usage
    created_us: int = 0  # of its oldest container; 0: it has none
    acl: AccountAcl = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, tuple[int, Usage]] = field(default_factory=dict)  # of buckets with a storage class: how many, and what they hold


@dataclass(frozen=True)
class ContainerChange:
    """What to change of a container: lists (None: leave them) and metadata (an empty value takes the name away)."""

    read: str | None = None
    write: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    archive: str | None = None  # "": none
    history: bool = False
    hidden: Mapping[str, str] = field(default_factory=dict)  # an empty value takes the name away
    sync_to: str | None = None  # the container that changes are sent to, checked; "": none
    sync_key: str | None = field(default=None, repr=False)

    @property
    def is_owners(self) -> bool:
        """Whether it changes what only the account's owners may: who comes in, by a list or by a key."""
        lists = self.read is not None or self.write is not None
        return lists or self.is_sync or not OWNERS_NAMES.isdisjoint(self.metadata)

    @property
    def is_sync(self) -> bool:
        """Whether it is about container sync."""
        return self.sync_to is not None or self.sync_key is not None

    def without_owners(self) -> "ContainerChange":
        """The rest of it, as Swift takes it from others."""
        metadata = {name: value for name, value in self.metadata.items() if name not in OWNERS_NAMES}
        return ContainerChange(None, None, metadata, self.archive, self.history, self.hidden)

    def __bool__(self) -> bool:
        return self.is_owners or self.archive is not None or bool(self.metadata or self.hidden)


MAX_QUOTA_DIGITS = 18
QUOTA_BYTES, QUOTA_COUNT = "quota-bytes", "quota-count"
QUOTA_NAMES = frozenset((QUOTA_BYTES, QUOTA_COUNT))


CLASS_QUOTAS = {
    QUOTA_BYTES: "quota-bytes-class:",
    QUOTA_COUNT: "quota-count-class:",
}  # of an account's hidden settings; a storage class follows


def class_quotas_of(hidden: Mapping[str, str]) -> dict[str, QuotaConfig]:
    """The quotas of storage policies that an account's settings set, by storage class; "" is that of the default policy."""
    found: dict[str, QuotaConfig] = {}
    for name in hidden:
        storage_class = next((name[len(prefix) :] for prefix in CLASS_QUOTAS.values() if name.startswith(prefix)), None)
        if storage_class is not None and storage_class not in found:
            limits = [_limit(hidden.get(CLASS_QUOTAS[kind] + storage_class, "")) for kind in (QUOTA_BYTES, QUOTA_COUNT)]
            found[storage_class] = QuotaConfig(1, *limits)
    return found


def quota_of(metadata: Mapping[str, str]) -> QuotaConfig | None:
    """The quota that a container's metadata sets, the same as S3's, or an account's.  None: there is none."""
    size, count = _limit(metadata.get(QUOTA_BYTES, "")), _limit(metadata.get(QUOTA_COUNT, ""))
    return None if size is None and count is None else QuotaConfig(1, size, count)


def is_limit(text: str) -> bool:
    """Whether a text is a number that a quota can be."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_QUOTA_DIGITS


def _limit(text: str) -> int | None:
    return int(text) if is_limit(text) else None  # what stood there before it meant a quota is none


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Container).decode
NOTHING = Container()


def encode_container(container: Container) -> bytes:
    """As it is kept."""
    return _encode(container)


def decode_container(data: bytes) -> Container:
    """What was kept; nothing from nothing."""
    return _decode(data) if data else NOTHING


def changed(container: Container, change: ContainerChange) -> Container:
    """The container after a change.  Raises InvalidArgument for lists, InvalidRequest for too much metadata."""
    read = container.read if change.read is None else normal_acl("X-Container-Read", change.read)
    write = container.write if change.write is None else normal_acl("X-Container-Write", change.write)
    kept = (container.archive, container.history) if change.archive is None else (change.archive, change.history and bool(change.archive))
    return Container(
        RECORD_VERSION, read, write, merged(container.metadata, change.metadata), *kept, merged(container.hidden, change.hidden)
    )


def merged(metadata: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    """Metadata after a change; empty values take names away.  Raises InvalidRequest when it is too much."""
    result = {name: value for name, value in {**metadata, **change}.items() if value}
    size = sum(len(name.encode()) + len(value.encode("utf-8", "surrogateescape")) for name, value in result.items())
    if len(result) > METADATA_LIMIT_COUNT:
        raise InvalidRequest(f"there may be {METADATA_LIMIT_COUNT} names of metadata, not {len(result)}")
    if size > METADATA_LIMIT_BYTES:
        raise InvalidRequest(f"metadata may have {METADATA_LIMIT_BYTES} bytes in all, not {size}")
    return result
