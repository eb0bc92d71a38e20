"""Configuration of buckets: small documents by the name of their sub-resource, kept in the bucket's record.

What is kept is a document's normal form, encoded: whoever writes one validates it first, so that whoever reads one (a
request on its hot path, a daemon) need not.  `Parsed` keeps what was decoded by the very bytes object, which the
directory's cache hands out again and again.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from objstore.errors import InvalidArgument, NoSuchConfig
from objstore.objects.access import Action
from objstore.objects.api import BucketInfo, Principal
from objstore.objects.buckets import BucketRecord
from objstore.objects.context import StoreContext

# Every part there is, and what its caller must be allowed to see and to change.
PARTS: dict[str, tuple[Action, Action]] = {
    "acl": (Action.READ_BUCKET_ACL, Action.WRITE_BUCKET_ACL),
    "cors": (Action.READ_CORS, Action.WRITE_CORS),
    "encryption": (Action.READ_ENCRYPTION, Action.WRITE_ENCRYPTION),
    "lifecycle": (Action.READ_LIFECYCLE, Action.WRITE_LIFECYCLE),
    "logging": (Action.READ_LOGGING, Action.WRITE_LOGGING),
    "notification": (Action.READ_NOTIFICATION, Action.WRITE_NOTIFICATION),
    "object-lock": (Action.READ_BUCKET_LOCK, Action.WRITE_BUCKET_LOCK),
    "ownershipControls": (Action.READ_OWNERSHIP, Action.WRITE_OWNERSHIP),
    "policy": (Action.READ_POLICY, Action.WRITE_POLICY),
    "publicAccessBlock": (Action.READ_PUBLIC_ACCESS, Action.WRITE_PUBLIC_ACCESS),
    "quota": (Action.READ_QUOTA, Action.WRITE_QUOTA),
    "requestPayment": (Action.READ_REQUEST_PAYMENT, Action.WRITE_REQUEST_PAYMENT),
    "tagging": (Action.READ_BUCKET_TAGS, Action.WRITE_BUCKET_TAGS),
    "website": (Action.READ_WEBSITE, Action.WRITE_WEBSITE),
}
# What its caller must be allowed in order to take it away, where that is not the same as changing it.
REMOVALS: dict[str, Action] = {"policy": Action.DELETE_POLICY, "website": Action.DELETE_WEBSITE}
_KEPT = 1024  # decoded documents of one kind held at once

T = TypeVar("T")


class Parsed(Generic[T]):
    """Decodes a part of a bucket's configuration, once for as long as the same bytes are handed out."""

    def __init__(self, part: str, decode: Callable[[bytes], T]) -> None:
        self._part = part
        self._decode = decode
        self._kept: dict[bytes, T] = {}

    def of(self, info: BucketInfo) -> T | None:
        """The part of this bucket, None when it is not set."""
        data = info.config.get(self._part)
        if data is None:
            return None
        found = self._kept.get(data)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            found = self._kept[data] = self._decode(data)
        return found


class Configs(StoreContext):
    """Reading and changing the configuration of buckets."""

    async def get_config(self, who: Principal, bucket: str, part: str) -> bytes:
        """A sub-resource of a bucket as it was set.  Raises NoSuchConfig when it is not."""
        home = await self.open_bucket(who, bucket, _actions(part)[0])
        data = home.info.config.get(part)
        if data is None:
            raise NoSuchConfig(f"bucket {bucket!r} has no {part} configuration", part=part)
        return data

    async def may_configure(self, who: Principal, bucket: str, part: str) -> BucketInfo:
        """The bucket, when the caller may set this part of its configuration; so that nobody's document is read in vain."""
        return (await self.open_bucket(who, bucket, _actions(part)[1])).info

    async def set_config(self, who: Principal, bucket: str, part: str, value: bytes | None) -> BucketInfo:
        """Set a sub-resource of a bucket, or take it away (None), atomically."""
        action = _actions(part)[1] if value is not None else REMOVALS.get(part) or _actions(part)[1]
        home = await self.open_bucket(who, bucket, action)

        def edit(record: BucketRecord) -> BucketRecord:
            config = {name: data for name, data in record.config.items() if name != part}
            if value is not None:
                config[part] = value
            return msgspec.structs.replace(record, config=config)

        return await self.directory.change(home, edit)


def _actions(part: str) -> tuple[Action, Action]:
    actions = PARTS.get(part)
    if actions is None:
        raise InvalidArgument(f"{part!r} is no configuration of a bucket")
    return actions
