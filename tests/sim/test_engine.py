"""The engine under power cuts, and proof that the trial notices an engine that forgets to flush."""

from collections.abc import Callable, Iterator

import pytest

from objstore.node.engine.packs import Packs
from tests.sim.disk import SimDisk, SimFile
from tests.sim.engine import EngineTrial


def trial(seed: int) -> EngineTrial:
    made = EngineTrial(seed)
    try:
        made.run()
    finally:
        made.simulation.bury()
    return made


@pytest.fixture
def _no_datasync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimFile, "datasync", lambda self: self._check())


@pytest.fixture
def _no_directory_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimDisk, "sync_directory", lambda self, path: None)


def first_caught(run: Callable[[int], object], seeds: Iterator[int]) -> int | None:
    for seed in seeds:
        try:
            run(seed)
        except Exception:  # noqa: BLE001 whatever the engine or the trial says, it noticed
            return seed
    return None


@pytest.mark.parametrize("seed", range(8))
def test_whatever_was_acknowledged_is_there_after_every_crash(seed: int) -> None:
    assert trial(seed).acknowledged > 5  # lives are of any length: some seeds draw mostly very short ones


@pytest.fixture
def _no_second_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packs, "secure", lambda self, pack, offset: None)


@pytest.mark.usefixtures("_no_second_flush")
def test_an_engine_that_trusts_what_a_killed_process_left_unflushed_is_caught() -> None:
    assert first_caught(trial, iter(range(8, 15))) is not None


@pytest.mark.usefixtures("_no_datasync")
def test_an_engine_that_does_not_flush_its_files_is_caught() -> None:
    assert first_caught(trial, iter(range(5))) is not None


@pytest.mark.usefixtures("_no_directory_sync")
def test_an_engine_that_does_not_flush_its_directories_is_caught() -> None:
    assert first_caught(trial, iter(range(10))) is not None
