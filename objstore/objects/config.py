"""Configuration of buckets: small documents by the name of their sub-resource, kept in the bucket's record.

What is kept is a document's normal form, encoded: whoever writes one validates it first, so that whoever reads one (a
request on its hot path, a daemon) need not.  `Parsed` keeps what was decoded by the very bytes object, which the
directory's cache hands out again and again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from objstore.core.acl import Ownership, PublicAccessBlock, decode_acl, encode_block, is_public
from objstore.core.container import CLASS_PART, decode_container
from objstore.core.container_acl import parse_acl
from objstore.core.policy import S3_ARN, Kind, Policy, parse_policy
from objstore.errors import (
    AccessDenied,
    AclAgainstBlock,
    AclAgainstOwnership,
    AclNotSupported,
    InvalidArgument,
    MalformedPolicy,
    NoSuchConfig,
)
from objstore.objects.access import Action, Question, block_of, check_list, check_policy, decide, gate_of, ownership_of, policy_of
from objstore.objects.actions import ON_OBJECT
from objstore.objects.api import BucketInfo, Principal
from objstore.objects.buckets import BucketRecord
from objstore.objects.context import ObjectSettings, StoreContext
from objstore.objects.kept import Kept

# Every part there is, and what its caller must be allowed to see and to change.
PARTS: dict[str, tuple[Action, Action]] = {
    "acl": (Action.READ_BUCKET_ACL, Action.WRITE_BUCKET_ACL),
    "container": (Action.READ_BUCKET, Action.WRITE_BUCKET_ACL),  # what Swift says of it, see core/container.py
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
    CLASS_PART: (Action.READ_BUCKET, Action.CREATE_BUCKET),  # the storage class of objects whose writer names none; set at the beginning
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
        self._kept: Kept[bytes, T] = Kept(_KEPT)

    def of(self, info: BucketInfo) -> T | None:
        """The part of this bucket, None when it is not set."""
        data = info.config.get(self._part)
        if data is None:
            return None
        found = self._kept.get(data)
        if found is None:
            found = self._decode(data)
            self._kept.put(data, found, len(data))
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
                check_change(part, config, bucket)
            return msgspec.structs.replace(record, config=config)

        return await self.directory.change(home, edit)

    async def set_policy(self, who: Principal, bucket: str, data: bytes, *, may_lock_out: bool = False) -> BucketInfo:
        """Set the bucket's policy.  Raises MalformedPolicy, AccessDenied when it is public and that is blocked.

        Unless the caller confirms that it may, a policy may not take from its setter the right to set the next one.
        """
        home = await self.open_bucket(who, bucket, Action.WRITE_POLICY)
        policy = parse_policy(data, Kind.BUCKET, bucket=bucket)
        _check_reach(policy)
        check_policy(policy, block_of(home.info.config))
        gate = gate_of(bucket, {**home.info.config, "policy": data})
        if not may_lock_out and not decide(who, home.info, gate, Question(Action.WRITE_POLICY)).allowed:
            raise AccessDenied(
                "the policy would keep its setter from changing it",
                hint="The policy would deny you s3:PutBucketPolicy; confirm it by x-amz-confirm-remove-self-bucket-access: true.",
            )
        return await self.set_config(who, bucket, "policy", data)


def _check_reach(policy: Policy) -> None:
    """Refuse a policy whose statement names an action that none of its resources has.  Raises MalformedPolicy.

    Only when it is set, for those that were set before are as they are; and only by actions this store knows, by their full names.
    """
    for statement in policy.statements:
        names = statement.resources
        if names is None or names.inverted or statement.actions.inverted:
            continue
        paths = [text.removeprefix(S3_ARN) for text in names.texts]
        has_objects = any("/" in path or _WILD.search(path) for path in paths)
        has_buckets = any("/" not in path or _WILD.search(path.partition("/")[0]) for path in paths)
        for text in statement.actions.texts:
            action = _BY_NAME.get(text.lower())
            if action is not None and not (has_objects if action in ON_OBJECT else has_buckets):
                wanted = "arn:aws:s3:::BUCKET/*" if action in ON_OBJECT else "arn:aws:s3:::BUCKET"
                kind = "an object" if action in ON_OBJECT else "a bucket"
                raise MalformedPolicy(
                    "Action does not apply to any resource(s) in statement",
                    hint=f"{action.value} is done to {kind}: name it in Resource, as in {wanted}.",
                )


_BY_NAME = {action.value.lower(): action for action in Action}
_WILD = re.compile(r"[*?]|\$\{")


def first_config(asked: Mapping[str, bytes], settings: ObjectSettings) -> dict[str, bytes]:
    """What a new bucket begins with.  Raises AclAgainstOwnership, AclAgainstBlock, InvalidArgument."""
    config = dict(asked)
    if settings.new_bucket_ownership:
        config.setdefault("ownershipControls", settings.new_bucket_ownership.encode())
    if settings.new_bucket_block_public:
        config.setdefault("publicAccessBlock", encode_block(PublicAccessBlock(True, True, True, True)))  # noqa: FBT003 all of it
    for part in config:
        _actions(part)
    _check_lists(config)
    if block_of(config).block_acls and is_public(decode_acl(config.get("acl", b""))):
        raise AclAgainstBlock
    return config


def _check_lists(config: Mapping[str, bytes]) -> None:
    if config.get("acl") and ownership_of(config) is Ownership.ENFORCED:
        raise AclAgainstOwnership


def check_change(part: str, config: Mapping[str, bytes], name: str) -> None:
    """Refuse what would contradict the rest of the configuration.  Raises AclNotSupported, AclAgainstOwnership, AccessDenied."""
    if part == "acl":
        if ownership_of(config) is Ownership.ENFORCED:
            raise AclNotSupported
        check_list(decode_acl(config["acl"]), block_of(config))
    elif part == "ownershipControls":
        _check_lists(config)
    elif part == "container":
        container = decode_container(config["container"])
        if block_of(config).restrict and any(parse_acl(acl).is_public for acl in (container.read, container.write)):
            raise AccessDenied("the bucket's public access block refuses public lists", hint="Take the public access block away first.")
    elif part == "policy":
        check_policy(policy_of(config["policy"], name), block_of(config))


def _actions(part: str) -> tuple[Action, Action]:
    actions = PARTS.get(part)
    if actions is None:
        raise InvalidArgument(f"{part!r} is no configuration of a bucket")
    return actions
