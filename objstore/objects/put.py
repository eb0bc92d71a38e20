"""PUT: take in a body, then write the head of its key, plainly or under conditions."""

import msgspec

from objstore.core import names
from objstore.core.checksums import FULL_OBJECT
from objstore.core.conditions import check_as_of, check_write
from objstore.core.rows import Kind, Row, RowKey
from objstore.core.timestamp import ZERO
from objstore.errors import OutcomeUnknown, Refused
from objstore.objects.access import owner_of_new
from objstore.objects.api import NO_CONDITIONS, Attributes, Body, Conditions, Expected, ObjectInfo, Principal
from objstore.objects.bodies import NAMED_WITHIN_S, apart, body_key, drop_unnamed, keep_body
from objstore.objects.buckets import Bucket
from objstore.objects.context import object_key
from objstore.objects.info import null_of, object_info
from objstore.objects.intake import Received, receive
from objstore.objects.lock import as_kept, locks_of_new
from objstore.objects.sealing import Sealing


class Puts(Sealing):
    """Writing objects."""

    async def put(
        self, who: Principal, bucket: str, key: str, body: Body, *,
        attributes: Attributes, expected: Expected, conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Write an object; nothing is visible before the whole body came, matched and is durable on a quorum."""
        home = await self.open_for_writing(who, bucket, key, attributes)
        row = await self.put_body(who, home, names.object_name(key), body, attributes=attributes, expected=expected, conditions=conditions)
        return object_info(key, row, null_of(home.info))

    async def put_body(
        self, who: Principal, bucket: Bucket, name: bytes, body: Body, *,
        attributes: Attributes, expected: Expected, conditions: Conditions = NO_CONDITIONS,
    ) -> Row:  # fmt: skip
        """The same once bucket and caller are settled; copies come in here too."""
        if attributes.metadata:
            names.check_metadata(attributes.metadata)
        if attributes.lock is not None:
            locks_of_new(bucket, attributes.lock, self.clock.wall_us())
        seal = await self.seal_for(bucket.info, attributes.encryption)
        owner, acl = owner_of_new(who, bucket.account, bucket.gate, attributes.acl)
        key = object_key(bucket, name)
        if conditions.as_of_us is not None:  # before anybody is told of a change that will not be
            check_as_of(conditions.as_of_us, (await self.cluster.read(key, spread=bucket.spread)).row)
        if (body.size is None or body.size > self.settings.inline_limit_bytes) and conditions:
            # Refuse before the body is sent where that is possible; the write judges again, atomically.
            check_write(conditions, self.unexpired((await self.cluster.read(key, spread=bucket.spread)).row))
        if (body.size is None or body.size > self.settings.inline_limit_bytes) and await self.quotas.limit(bucket):
            await self.quotas.check(bucket, key, body.size or 0)
        storage_class = self.class_in(bucket, attributes.storage_class)
        if storage_class != attributes.storage_class:
            attributes = msgspec.structs.replace(attributes, storage_class=storage_class)
        policy = self.settings.policy_of(storage_class)
        target = key if not policy else body_key(self, bucket, names.new_copy_id(self.clock.wall_us(), self.rng.token(8)), 1, policy)
        received = await receive(self, target, bucket.spread, body, expected, seal=seal)
        draft = object_row(owner, received, attributes, acl)
        if conditions.as_of_us is not None:
            draft = msgspec.structs.replace(draft, modified_us=conditions.as_of_us)
        try:
            bucket = await self.directory.renewed(bucket)
            draft = as_kept(bucket, draft, attributes.lock, self.clock.wall_us())
        except BaseException:
            if received.staging is not None:
                await received.staging.abort()
            raise
        if policy and received.staging is not None:
            return await self._commit_apart(bucket, key, draft, received, conditions)
        return await self.commit(bucket, key, draft, conditions=conditions, payload=received.payload, staging=received.staging)

    async def _commit_apart(self, bucket: Bucket, key: RowKey, draft: Row, received: Received, conditions: Conditions) -> Row:
        """The body into the ring of its policy, then the head that names it."""
        began = self.clock.monotonic()
        kept = await keep_body(self, bucket, key.name, draft.owner, received)
        if self.clock.monotonic() - began > NAMED_WITHIN_S:
            raise OutcomeUnknown("writing took too long; the object is as it was, try again")
        try:
            return await self.commit(bucket, key, apart(draft, kept), conditions=conditions)
        except Refused as refusal:
            await drop_unnamed(self, bucket, (kept.register,), refusal)
            raise


def object_row(owner: str, received: Received, attributes: Attributes, acl: bytes = b"") -> Row:
    """A draft of the head of an object; the cluster fills in what names the write, `modified_us` is its clock's."""
    return Row(
        kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0,
        size=received.size, etag=received.etag, body=received.body, digest=received.digest, blob=received.blob,
        content_type=attributes.content_type, headers=dict(attributes.headers), metadata=dict(attributes.metadata),
        checksums=received.checksums, checksum_type=FULL_OBJECT, owner=owner, tags=dict(attributes.tags), acl=acl,
        encryption=received.encryption, stored=received.stored, storage_class=attributes.storage_class,
    )  # fmt: skip
