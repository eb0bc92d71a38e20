"""How often racing writers of one key are told to try again: on real replicas, in virtual time, by many seeds."""

import asyncio
import random
from collections import Counter

import pytest

from objstore.errors import ConditionalConflict, OutcomeUnknown, PreconditionFailed
from objstore.objects import delete
from objstore.objects.api import Conditions
from tests.support.sim_store import SimStore, with_sim_store

RACERS = 16


async def race(store: SimStore, rng: random.Random, kinds: tuple[str, ...], *, turns: int) -> Counter[tuple[str, str]]:
    """Sixteen clients at one key, through both proxies, without a pause; what each kind of request was told."""
    told: Counter[tuple[str, str]] = Counter()
    there = [(await store.put("k")).version_id for _ in range(RACERS * turns)]
    gone: list[str] = []
    new: list[str] = []

    async def once(what: str, proxy: int) -> None:
        if what == "remove":
            version = there.pop(rng.randrange(len(there)))
            await store.delete("k", version, proxy=proxy)
            gone.append(version)
        elif what == "mark":
            await store.delete("k", proxy=proxy)
        else:
            conditions = Conditions(if_none_match=("*",)) if what == "create" else Conditions()
            new.append((await store.put("k", b"x" * rng.choice((10, 300_000)), proxy=proxy, conditions=conditions)).version_id)

    async def racer(number: int) -> None:
        for _ in range(turns):
            what = kinds[number // 2 % len(kinds)]
            try:
                await once(what, number % 2)
                told[what, "ok"] += 1
            except (ConditionalConflict, OutcomeUnknown, PreconditionFailed) as failure:
                told[what, type(failure).__name__] += 1

    await asyncio.gather(*(racer(number) for number in range(RACERS)))
    listed = await store.versions()
    assert await store.versions(limit=rng.choice((1, 2, 3, 7)), proxy=1) == listed
    shown = [version for _, version, _, _ in listed]
    assert len(set(shown)) == len(shown)
    assert [latest for _, _, latest, _ in listed] == [True] + [False] * (len(listed) - 1)
    assert not set(gone) & set(shown)
    assert set(new) | set(there) <= set(shown)
    return told


@pytest.mark.parametrize("seed", range(2))
def test_removing_versions_while_others_put_is_not_refused(seed: int) -> None:
    async def test(store: SimStore) -> None:
        told = await race(store, random.Random(seed), ("put", "remove"), turns=6)
        assert told == {("put", "ok"): 48, ("remove", "ok"): 48}
        told = await race(store, random.Random(seed), ("put", "remove", "mark", "create"), turns=6)
        assert (told["put", "ok"], told["remove", "ok"], told["mark", "ok"]) == (24, 24, 24)
        # Whether a conditional write took effect is for its client to find out: S3 answers 409 there too.
        assert told["create", "OutcomeUnknown"] == 0

    with_sim_store(test, seed=seed)


def test_without_another_attempt_some_removals_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete, "ATTEMPTS", 1)

    async def test(store: SimStore) -> None:
        told = await race(store, random.Random(0), ("put", "remove"), turns=6)
        assert told["remove", "ConditionalConflict"] > 0

    with_sim_store(test)
