import asyncio

import pytest

from objstore.core.rows import Kind, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import AccessDenied, NoSuchBucket, PreconditionFailed
from objstore.objects.access import Action
from objstore.objects.api import Conditions
from objstore.objects.context import object_key
from tests.support.memory_cluster import MemoryStaging
from tests.support.store_rig import ALICE, BOB, Rig, with_rig

DRAFT = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0)


def test_a_bucket_opens_for_those_who_may() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.open_bucket(ALICE, "photos", Action.READ_OBJECT)
        assert object_key(bucket, b"k") == RowKey(bucket.id, Space.OBJECTS, b"k")
        with pytest.raises(AccessDenied):
            await rig.store.open_bucket(BOB, "photos", Action.READ_OBJECT)

    with_rig(test)


def test_a_refused_commit_drops_the_blob() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.open_bucket(ALICE, "photos", Action.WRITE_OBJECT)
        key = object_key(bucket, b"k")
        await rig.store.commit(bucket, key, DRAFT)
        staging = MemoryStaging(rig.registers, b"b" * 16)
        await staging.finish()
        with pytest.raises(PreconditionFailed):
            await rig.store.commit(bucket, key, DRAFT, conditions=Conditions(if_none_match=("*",)), staging=staging)
        assert staging.aborted

    with_rig(test)


def test_a_commit_into_a_bucket_that_went_meanwhile_is_not_acknowledged() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.open_bucket(ALICE, "photos", Action.WRITE_OBJECT)
        await rig.peer().store.delete_bucket(ALICE, "photos")
        await asyncio.sleep(1)
        with pytest.raises(NoSuchBucket):
            await rig.store.commit(bucket, object_key(bucket, b"k"), DRAFT)

    with_rig(test)
