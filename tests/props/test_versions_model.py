"""A key with versions under random schedules: every history is explained, and each broken variant is caught.

`HISTORIES=30000 pytest tests/props/test_versions_model.py` runs more; a failure names the seed.
"""

import os
from collections.abc import Callable

import pytest

from objstore.core.agreement import ConditionalWrite, FamilyWrite, PlainWrite
from objstore.core.rows import Row
from tests.support.register_model import Rules
from tests.support.version_model import Act, VersionModel, VersionReplica, explains

HISTORIES = int(os.environ.get("HISTORIES", "120"))
SEARCH = 3000
FOUND = (
    # A promotion that nobody chose outranked the tombstone of a removal that began before it, after that was read as final.
    *(885, 3503, 5373, 6082, 8663, 10944, 14577, 16175, 19441),
    *(9187, 10878),  # a removal read a null version above its own promise, and removed nothing
    *(1150, 1272, 1821, 1877, 2668),  # a null version's writer took a tombstone older than its version for one that came after it
)
FOUND_SUSPENDED = (
    *(762, 904, 1294),  # a null version that overwrote another in place passed for a removal of it, and its base was lost
    *(2126, 2645, 4090),  # a null version above another head hid that the one before had been removed: its writer wrote it again
)


class ForgetsWhatItOverwrites(VersionReplica):
    def accept(self, ballot: bytes, row: bytes) -> tuple[str, bytes, bytes]:  # type: ignore[override]
        before = dict(self.versions)
        answer = super().accept(ballot, row)
        self.versions = before
        return answer


class DoneWhenOverwritten(PlainWrite):
    """A write that was overwritten is not stored as a version."""

    def _end_prepared(self, row: Row | None) -> bool:
        if row is not None and self._took_effect(row):
            return self._accept(self._granted, self._top.row, own=False)
        return super()._end_prepared(row)


class BelievesAnyTombstone(FamilyWrite):
    """A tombstone is final as it was found."""

    def _bury(self, version: str, tombstone: Row) -> bool:
        return self._resume()


BROKEN = {
    "a tombstone keeps its rank when it becomes final": {"family": BelievesAnyTombstone},
    "a head that is replaced is not kept": {"rules": Rules(replica=ForgetsWhatItOverwrites)},
    "an overwritten write is not stored as a version": {"rules": Rules(plain=DoneWhenOverwritten, replica=VersionReplica)},
}


class HidesNullVersions(ConditionalWrite):
    """A null version takes the base of the head that it was judged by, whatever null version it hides."""

    def _ask_version(self, version: str, resume: Callable[[], bool]) -> bool:
        if not version:
            self._read[version] = None
            return resume()
        return super()._ask_version(version, resume)


BROKEN_SUSPENDED = {"a null version hides one that was removed": {"rules": Rules(conditional=HidesNullVersions, replica=VersionReplica)}}


def holds(seed: int, **more: object) -> bool:
    return explains(VersionModel(seed, rings="three", **more).history_of())  # type: ignore[arg-type]


def test_every_history_is_that_of_a_key_with_versions() -> None:
    failed = [seed for seed in range(HISTORIES) if not holds(seed)]
    assert not failed, f"seeds {failed}"


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_found_stays_mended(seed: int) -> None:
    assert holds(seed)


def test_every_history_is_explained_where_versioning_is_suspended() -> None:
    failed = [seed for seed in range(HISTORIES) if not holds(seed, suspended=True)]
    assert not failed, f"seeds {failed}"


def test_tombstones_that_a_replica_makes_anew_may_go_below_high_floors() -> None:
    failed = [seed for seed in range(HISTORIES // 3) if not holds(seed, anew=True)]
    assert not failed, f"seeds {failed}"


@pytest.mark.parametrize("seed", FOUND_SUSPENDED)
def test_what_was_found_where_versioning_is_suspended_stays_mended(seed: int) -> None:
    assert holds(seed, suspended=True)


@pytest.mark.parametrize("name", sorted(BROKEN_SUSPENDED))
def test_rules_broken_where_versioning_is_suspended_are_caught(name: str) -> None:
    assert any(not holds(seed, suspended=True, **BROKEN_SUSPENDED[name]) for seed in range(2000, 2000 + SEARCH)), name


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_rules_are_caught(name: str) -> None:
    assert any(not holds(seed, **BROKEN[name]) for seed in range(SEARCH)), name


def put(slot: str, start: int, end: int | None) -> Act:
    return Act("put", start, end, slot=slot, value="in " + slot, age=(int(slot), slot))


def test_the_checker_tells_a_lost_version_from_one_that_is_there() -> None:
    history = [put("1", 0, 1), put("2", 2, 3)]
    assert explains([*history, Act("getv", 4, 5, slot="1", result="in 1"), Act("get", 6, 7, result="in 2")])
    assert not explains([*history, Act("getv", 4, 5, slot="1")])
    assert not explains([*history, Act("get", 4, 5, result="in 1")])


def test_the_checker_wants_the_newest_to_succeed_a_removed_head() -> None:
    history = [put("1", 0, 1), put("2", 2, 3), put("3", 4, 5), Act("remove", 6, 7, slot="3")]
    assert explains([*history, Act("get", 8, 9, result="in 2"), Act("getv", 10, 11, slot="3")])
    assert not explains([*history, Act("get", 8, 9, result="in 1")])
    assert not explains([*history, Act("getv", 8, 9, slot="3", result="in 3")])
