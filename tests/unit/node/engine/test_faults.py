"""Errors of the operating system: told apart, and what each of them does to a device."""

import dataclasses
import errno
from typing import Any

import pytest

from objstore.errors import DamagedBody, DeviceOffline, TooBusy
from objstore.node.engine.blobs import blob_name
from objstore.node.engine.faults import is_full, is_shortage
from tests.sim.disk import SimDisk, SimFile
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, key, put, put_blob, read, row

BLOB = b"b" * 16


def test_errors_are_told_apart() -> None:
    assert is_full(OSError(errno.ENOSPC, ""))
    assert is_full(OSError(errno.EDQUOT, ""))
    assert is_shortage(OSError(errno.EMFILE, ""))
    assert is_shortage(OSError(errno.ENOMEM, ""))
    for other in (OSError(errno.EIO, ""), ValueError()):
        assert not is_full(other)
        assert not is_shortage(other)


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig()
    rig.run(lambda: put_blob(rig.engine, "blob", 1, BLOB, b"data" * 1000))
    rig.run(lambda: put(rig.engine, "inline", 1, b"payload"))
    rig.reopen()
    return rig


def failing(monkeypatch: pytest.MonkeyPatch, target: Any, method: str, code: int) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise OSError(code, "")

    monkeypatch.setattr(target, method, fail)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_a_process_without_descriptors_damages_nothing(rig: SimRig, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def stage() -> Any:
        return rig.engine.stage(b"s" * 16, size=1)

    def name_the_blob() -> Any:
        return rig.engine.accept(key("k"), partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=4000))

    with monkeypatch.context() as patch:
        for method in ("open", "create_unlinked"):
            failing(patch, SimDisk, method, code)
        for attempt in (
            lambda: read(rig.engine, "blob", 1),
            lambda: rig.engine.audit(b"r", budget_bytes=1 << 20),
            stage,
            name_the_blob,
        ):
            with pytest.raises(TooBusy):
                rig.run(attempt)
    assert rig.engine.stats().quarantined == 0
    assert rig.run(lambda: read(rig.engine, "blob", 1)) == b"data" * 1000
    assert rig.run(lambda: read(rig.engine, "inline", 1)) == b"payload"
    assert rig.run(name_the_blob).verdict == "yes"


def test_a_bad_sector_is_damage(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        failing(patch, SimFile, "pread", errno.EIO)
        for name in ("blob", "inline"):
            with pytest.raises(DamagedBody):
                rig.run(lambda name=name: read(rig.engine, name, 1))
    assert len(rig.engine._state.suspects) == 2
    assert rig.host.storage.disk(DIRECTORY).exists("quarantine/" + blob_name(BLOB).rpartition("/")[2] + ".0")


def test_a_pack_that_cannot_be_begun_for_want_of_descriptors_is_begun_later(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, pack_size_bytes=100))
    rig.run(lambda: put(rig.engine, "first", 1, b"x" * 200))
    with monkeypatch.context() as patch:
        failing(patch, SimDisk, "open", errno.EMFILE)
        for _ in range(2):
            with pytest.raises(TooBusy):
                rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    assert rig.run(lambda: put(rig.engine, "k", 1, b"y")) == "yes"
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "k", 1)) == b"y"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM, errno.EIO])
def test_a_failed_flush_is_final_whatever_its_reason(rig: SimRig, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    with monkeypatch.context() as patch:
        failing(patch, SimFile, "datasync", code)
        with pytest.raises(DeviceOffline):
            rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    with pytest.raises(DeviceOffline):
        rig.run(lambda: put(rig.engine, "k", 1, b"x"))
