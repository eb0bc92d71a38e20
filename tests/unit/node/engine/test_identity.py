import pytest

from objstore.errors import DamagedFile
from objstore.node.engine.engine import Engine, format_device, read_identity
from objstore.node.engine.identity import (
    FIRST_GENERATION,
    index_directory,
    index_generation,
    load_identity,
    remove_old_indexes,
    replace_identity,
    set_index_generation,
)
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, put


@pytest.fixture
def rig() -> SimRig:
    return SimRig()


def test_a_formatted_device_knows_its_incarnation(rig: SimRig) -> None:
    assert len(rig.incarnation) == 8
    assert read_identity(rig.host.world(), DIRECTORY) == rig.incarnation == rig.engine.incarnation


def test_a_directory_that_was_never_formatted_has_no_identity(rig: SimRig) -> None:
    assert read_identity(rig.host.world(), "/disks/other") is None


def test_formatting_survives_a_power_cut_and_is_done_once(rig: SimRig) -> None:
    rig.crash()
    assert read_identity(rig.host.world(), DIRECTORY) == rig.incarnation
    with pytest.raises(FileExistsError):
        rig.run(lambda: format_device(rig.host.world(), DIRECTORY))
    assert read_identity(rig.host.world(), DIRECTORY) == rig.incarnation


def test_two_devices_differ(rig: SimRig) -> None:
    assert rig.run(lambda: format_device(rig.host.world(), "/disks/other")) != rig.incarnation


def test_any_damage_to_the_identity_is_seen(rig: SimRig) -> None:
    data = rig.host.storage.volume(DIRECTORY)[0].directories[""]["identity"].data
    for at in range(len(data)):
        data[at] ^= 4
        with pytest.raises(DamagedFile):
            read_identity(rig.host.world(), DIRECTORY)
        data[at] ^= 4
    data.append(0)
    with pytest.raises(DamagedFile):
        read_identity(rig.host.world(), DIRECTORY)


def test_a_new_incarnation_keeps_the_packs(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    rig.run(rig.engine.close)
    disk = rig.host.storage.disk(DIRECTORY)
    found = load_identity(disk)
    assert found is not None
    replace_identity(disk, b"another!", found[1])
    rig.crash()
    assert rig.engine.incarnation == b"another!"
    assert rig.engine.stats().rows == 1


def test_the_generation_of_the_index_is_switched_durably(rig: SimRig) -> None:
    disk = rig.host.storage.disk(DIRECTORY)
    assert index_generation(disk) == FIRST_GENERATION
    set_index_generation(disk, 7)
    rig.crash()
    assert index_generation(rig.host.storage.disk(DIRECTORY)) == 7
    assert index_directory("/d", 7) == "/d/index-7"


def test_a_damaged_generation_is_seen(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    disk = rig.host.storage.disk(DIRECTORY)
    for wrong in (b"", b"index-", b"index-x", b"idx-3", b"\xff\xff"):
        file = disk.open("generation", create=True, write=True)
        file.truncate(0)
        file.pwrite([wrong], 0)
        with pytest.raises(DamagedFile):
            index_generation(disk)

    async def body() -> None:
        await Engine.open(rig.host.world(), DIRECTORY, SMALL)

    with pytest.raises(DamagedFile):
        rig.run(body)


def test_old_indexes_give_their_room_back(rig: SimRig) -> None:
    disk = rig.host.storage.disk(DIRECTORY)
    for number in (1, 2, 3):
        disk.make_directory(f"index-{number}")
        disk.open(f"index-{number}/data.mdb", create=True, write=True)
    remove_old_indexes(disk, 3)
    assert [disk.list(f"index-{number}") for number in (1, 2, 3)] == [[], [], ["data.mdb"]]
