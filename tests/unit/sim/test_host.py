"""Machines that die, stand still and come back; threads that end half-way."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.sim.host import Host, HostDied, Simulation
from tests.sim.loop import Deadlock


def play(scene: Callable[[Simulation, Host], Coroutine[Any, Any, Any]], seed: int = 1) -> Any:
    simulation = Simulation(seed)
    try:
        result = simulation.run(scene(simulation, simulation.host("a")), limit_s=1000.0)
        assert simulation.scheduler.failures == []
        return result
    finally:
        simulation.bury()


def test_a_call_returns_or_raises_what_the_coroutine_does() -> None:
    async def scene(simulation: Simulation, host: Host) -> None:
        async def double(n: int) -> int:
            await asyncio.sleep(1)
            assert asyncio.get_running_loop() is host.loop
            return 2 * n

        assert await host.call(lambda: double(4)) == 8
        with pytest.raises(TypeError):
            await host.call(lambda: double(None))  # type: ignore[arg-type]

    play(scene)


def test_a_call_on_a_host_that_dies_ends_with_it() -> None:
    async def scene(simulation: Simulation, host: Host) -> None:
        simulation.loop.call_later(2.0, lambda: host.kill(power=True))
        with pytest.raises(HostDied):
            await host.call(lambda: asyncio.sleep(10))
        assert simulation.loop.time() == 2.0
        with pytest.raises(HostDied):
            await host.call(lambda: asyncio.sleep(1))
        host.boot()
        assert await host.call(lambda: asyncio.sleep(1, "alive")) == "alive"

    play(scene)


def test_a_client_that_hangs_up_cancels_its_call() -> None:
    async def scene(simulation: Simulation, host: Host) -> list[str]:
        seen: list[str] = []

        async def work() -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        with pytest.raises(TimeoutError):
            await host.call(work, timeout_s=3.0)
        await asyncio.sleep(1)
        return seen

    assert play(scene) == ["cancelled"]


def test_a_frozen_host_answers_when_it_thaws() -> None:
    async def scene(simulation: Simulation, host: Host) -> None:
        host.freeze()
        simulation.loop.call_later(50.0, host.thaw)
        assert await host.call(lambda: asyncio.sleep(0, "late")) == "late"
        assert simulation.loop.time() == 50.0

    play(scene)


def test_a_call_on_a_frozen_host_that_never_thaws_is_a_deadlock() -> None:
    async def scene(simulation: Simulation, host: Host) -> None:
        host.freeze()
        await host.call(lambda: asyncio.sleep(1))

    with pytest.raises(Deadlock):
        play(scene)


def test_a_killed_process_loses_nothing_that_it_wrote_and_a_power_cut_does() -> None:
    def survivors(*, power: bool) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for seed in range(40):

            async def scene(simulation: Simulation, host: Host) -> bytes:
                file = host.world().open_disk("/d").open("f", create=True, write=True)
                host.world().open_disk("/d").sync_directory(".")
                file.pwrite([b"written"], 0)
                host.kill(power=power)
                host.boot()
                return host.world().open_disk("/d").open("f").pread(100, 0)

            found[play(scene, seed)] += 1
        return found

    assert survivors(power=False) == {b"written": 40}
    assert survivors(power=True)[b"written"] < 40


def test_a_call_in_a_thread_ends_before_between_or_after_its_steps_when_the_power_goes() -> None:
    outcomes: Counter[int] = Counter()
    for seed in range(120):

        async def scene(simulation: Simulation, host: Host) -> int:
            disk = host.world().open_disk("/d")
            threads = host.world().new_threads("t", 1)

            def steps() -> None:
                for name in ("1", "2", "3"):
                    disk.open(name, create=True, write=True).close()
                    disk.sync_directory(".")

            task = host.loop.create_task(threads.run(steps))
            await asyncio.sleep(0.000_05)
            host.kill(power=True)
            assert not task.done()
            host.boot()
            return len(host.world().open_disk("/d").list("."))

        outcomes[play(scene, seed)] += 1
    assert set(outcomes) == {0, 1, 2, 3}


def test_the_same_seed_draws_the_same_numbers_for_each_life() -> None:
    def tokens(seed: int) -> list[bytes]:
        simulation = Simulation(seed)
        host = simulation.host("a")
        return [host.world().rng.token(8) for _ in range(3)]

    assert tokens(1) == tokens(1)
    assert tokens(1) != tokens(2)
    assert len(set(tokens(1))) == 3
