"""What Swift has beside what buckets are: metadata and lists of containers, accounts, totals, the POST of an object.

A container is a bucket; what Swift says of it is a part of its configuration.  An account has a record of its own, made when
something is first said of it: accounts need not be created.
"""

from collections.abc import Mapping, Sequence

import msgspec

from objstore.core import names
from objstore.core.account_acl import READ_WRITE
from objstore.core.container import (
    CLASS_QUOTAS,
    QUOTA_NAMES,
    AccountInfo,
    ContainerChange,
    changed,
    decode_container,
    encode_container,
    is_limit,
    merged,
    quota_of,
)
from objstore.core.container_sync import SYNC_KEY, SYNC_TO, SyncState
from objstore.core.locks import check_removable
from objstore.core.quota import Usage
from objstore.core.quota import encode as encode_quota
from objstore.core.rows import Row
from objstore.errors import AccessDenied, InvalidRequest, NoSuchKey, NoSuchVersion
from objstore.objects.access import Action, check_may_list, level_in, owns_home
from objstore.objects.accounts import AccountRecord, account_key, encode, record_of
from objstore.objects.alter import Alterations
from objstore.objects.api import NO_CHANGE, Attributes, BucketInfo, ObjectInfo, Principal
from objstore.objects.buckets import BucketRecord, record_row
from objstore.objects.config import check_change
from objstore.objects.context import EXPIRES, object_key
from objstore.objects.info import null_of, object_info
from objstore.objects.notes import begin_sync, note_expiry, sync_state


class Containers(Alterations):
    """Containers and accounts."""

    async def set_container(self, who: Principal, name: str, change: ContainerChange) -> BucketInfo:
        """Change a container's lists and metadata, atomically.  Raises NoSuchBucket, AccessDenied, InvalidArgument, InvalidRequest."""
        writer = not change.is_owners and who.levels.get(who.home) == READ_WRITE
        home = await self.open_bucket(who, name, Action.WRITE_METADATA if writer else Action.WRITE_BUCKET_ACL)

        if not writer and not QUOTA_NAMES.isdisjoint(change.metadata):
            await self.admit(who, home, Action.WRITE_QUOTA)  # the same as S3's

        def edit(record: BucketRecord) -> BucketRecord:
            after = changed(decode_container(record.config.get("container", b"")), change)
            config = {**record.config, "container": encode_container(after)}
            if QUOTA_NAMES & change.metadata.keys():
                config.pop("quota", None)
                limits = quota_of(after.metadata)
                if limits is not None:
                    config["quota"] = encode_quota(limits)
            for part, value in ((SYNC_TO, change.sync_to), (SYNC_KEY, change.sync_key)):
                if value is not None:
                    config.pop(part, None)
                    config.update({part: value.encode()} if value else {})
            check_change("container", config, name)
            return msgspec.structs.replace(record, config=config)

        if change.sync_to or change.sync_key:
            await begin_sync(self.cluster, home, self.clock.wall_us())
        return await self.directory.change(home, edit)

    async def sync_state(self, who: Principal, name: str) -> SyncState | None:
        """How far the peer of a container is kept in step.  Raises NoSuchBucket, AccessDenied, QuorumLost."""
        return await sync_state(self.cluster, (await self.open_bucket(who, name, Action.READ_BUCKET)).id)

    async def container_usage(self, who: Principal, name: str) -> Usage:
        """What a container holds, from the devices' counters.  Raises NoSuchBucket, AccessDenied, QuorumLost."""
        home = await self.open_bucket(who, name, Action.READ_BUCKET)
        held = await self.cluster.holdings(home.id)
        return Usage(held.objects, held.bytes)

    async def usages(self, who: Principal, buckets: Sequence[BucketInfo]) -> list[Usage]:
        """The same of containers that the caller has listed, whoever may look into each.  Raises AccessDenied, QuorumLost."""
        check_may_list(who)
        assert all(bucket.account == who.home for bucket in buckets)
        return [Usage(held.objects, held.bytes) for held in await self.cluster.holdings_of([bucket.id for bucket in buckets])]

    # -- accounts ---------------------------------------------------------------------------------------------

    async def account_metadata(self, account: str) -> Mapping[str, str]:
        """What was said of an account, at most a second old; for whoever must know a key.  Not to be shown."""
        return (await self.accounts.get(account)).metadata

    async def account_level(self, who: Principal, account: str) -> str:
        """What an account's access control list gives a caller, by a list that is at most a second old; "" for nothing."""
        return level_in(who, (await self.accounts.get(account)).record.acl)

    async def account(self, who: Principal) -> AccountInfo:
        """The account that is the caller's home.  Raises AccessDenied, QuorumLost."""
        check_may_list(who)
        record = record_of((await self.cluster.read(account_key(who.home))).row)
        total = await self.accounts.total(who.home)
        return AccountInfo(record.metadata, total.buckets, total.shown, total.created_us, record.acl, record.hidden, total.classes)

    async def account_settings(self, account: str) -> Mapping[str, str]:
        """An account's settings that are no metadata, at most a second old."""
        return (await self.accounts.get(account)).record.hidden

    async def set_account(
        self, who: Principal, change: Mapping[str, str], acl: dict[str, list[str]] | None = None, hidden: Mapping[str, str] = NO_CHANGE
    ) -> None:
        """Change an account's metadata, where an empty value takes a name away, and its list (None: leave it).

        Quotas are for administrators of all accounts.  Raises AccessDenied, InvalidRequest.
        """
        if not owns_home(who):
            raise AccessDenied(f"{who.user or 'an anonymous caller'} may not change the account: only its administrators may")
        quotas = {name: value for name, value in change.items() if name in QUOTA_NAMES}
        quotas |= {name: value for name, value in hidden.items() if name.startswith(tuple(CLASS_QUOTAS.values()))}
        if quotas and not (who.plain and who.admin):
            raise AccessDenied("only a reseller's administrator sets the quota of an account")
        if any(value and not is_limit(value) for value in quotas.values()):
            raise InvalidRequest("a quota is a number of bytes or of objects")

        def judge(current: Row | None) -> Row:
            before = record_of(current)
            record = AccountRecord(
                metadata=merged(before.metadata, change), acl=before.acl if acl is None else acl, hidden=merged(before.hidden, hidden)
            )
            return record_row(encode(record), owner=who.home)

        await self.cluster.conditional(account_key(who.home), judge)
        self.accounts.drop(who.home)

    # -- objects ----------------------------------------------------------------------------------------------

    async def set_attributes(self, who: Principal, bucket: str, key: str, attributes: Attributes) -> ObjectInfo:
        """Replace an object's metadata and headers, and its type where one is given; its bytes and ETag stay.

        Who says when it goes removes it, for good also where versions are kept, and must be let do that besides.
        Raises NoSuchKey, MetadataTooLarge, AccessDenied for a version that is locked, ConditionalConflict under a storm of writes.
        """
        if attributes.metadata:
            names.check_metadata(attributes.metadata)
        home = await self.open_bucket(who, bucket, Action.WRITE_OBJECT, key)
        if EXPIRES in attributes.headers:
            await self.admit(who, home, Action.DELETE_VERSION if home.info.versioning else Action.DELETE_OBJECT, key)
        now_us = self.clock.wall_us()
        register = object_key(home, names.object_name(key))
        if EXPIRES in attributes.headers:
            await note_expiry(self.cluster, home, register.name, int(attributes.headers[EXPIRES]), now_us)
        await self.announce(home, register)

        def change(row: Row) -> Row:
            self.check_unexpired(row, key, who)
            check_removable(row, now_us, bypass=False)  # S3 knows no such change: what is locked stays as it is said to be, and shown
            kept = {name: value for name, value in row.headers.items() if name in KEPT_HEADERS}
            return msgspec.structs.replace(
                row, metadata=dict(attributes.metadata), headers={**kept, **attributes.headers},
                content_type=attributes.content_type or row.content_type, modified_us=now_us,
            )  # fmt: skip

        try:
            row = await self.alter(home, key, "", change)
        except (NoSuchKey, NoSuchVersion):
            self.check_missing(who, home, Action.READ_OBJECT, key, "")
            raise
        return object_info(key, row, null_of(home.info))


# Of an object's headers, what a POST leaves alone: what it is, not what is said of it.
KEPT_HEADERS = frozenset((
    "x-static-large-object", "x-symlink-target", "x-symlink-target-etag", "x-symlink-target-account", "x-symlink-target-bytes",
))  # fmt: skip
