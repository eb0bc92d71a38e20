import pytest

from objstore.core.rows import BucketId
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest, NoSuchConfig
from objstore.objects.api import BucketInfo
from objstore.objects.buckets import CONFIG_LIMIT_BYTES
from objstore.objects.config import Parsed
from tests.support.store_rig import ALICE, BOB, Rig, with_rig


def test_what_is_set_is_read_back_until_it_is_taken_away() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(NoSuchConfig):
            await rig.store.get_config(ALICE, "photos", "cors")
        assert (await rig.store.set_config(ALICE, "photos", "cors", b"one")).config["cors"] == b"one"
        await rig.store.set_config(ALICE, "photos", "website", b"two")
        assert await rig.store.get_config(ALICE, "photos", "cors") == b"one"
        await rig.store.set_config(ALICE, "photos", "cors", None)
        config = (await rig.store.bucket(ALICE, "photos")).config
        assert config["website"] == b"two"
        assert "cors" not in config

    with_rig(test)


def test_only_known_parts_within_their_limit_and_by_the_owner() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(InvalidArgument):
            await rig.store.set_config(ALICE, "photos", "unheard-of", b"")
        with pytest.raises(InvalidRequest):
            await rig.store.set_config(ALICE, "photos", "cors", bytes(CONFIG_LIMIT_BYTES + 1))
        with pytest.raises(AccessDenied):
            await rig.store.set_config(BOB, "photos", "cors", b"")

    with_rig(test)


def test_the_same_bytes_are_decoded_once() -> None:
    decoded = []

    def decode(data: bytes) -> int:
        decoded.append(data)
        return len(data)

    parsed = Parsed("cors", decode)
    info = BucketInfo(id=BucketId(bytes(8)), name="b", account="a", created_us=0, config={"cors": b"abc"})
    assert (parsed.of(info), parsed.of(info)) == (3, 3)
    assert decoded == [b"abc"]
    assert parsed.of(BucketInfo(id=BucketId(bytes(8)), name="b", account="a", created_us=0)) is None
