"""One supervised process, with small real children: ready, death and restart, stop, wrappers, leftovers."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from objstore.cli.process import LIFELINE_FD, READY_FD, Plan, Process, is_alive, start_time
from objstore.runtime.clock import SystemClock
from objstore.runtime.tasks import TaskOwner

READY = f"import os, json; os.write(int(os.environ['{READY_FD}']), json.dumps(dict(pid=os.getpid())).encode() + b'\\n'); "
SLEEP = "import time; time.sleep(60)"
LIFELINE = f"os.read(int(os.environ['{LIFELINE_FD}']), 1)"


def _run(directory: Path, code: str, scenario: Callable[[Process], Awaitable[None]], prefix: tuple[str, ...] = ()) -> None:
    async def main() -> None:
        async def plan() -> Plan:
            return Plan(
                name="node1", role="node", command=(sys.executable, "-S", "-c", code), environment=dict(os.environ),
                log_file=directory / "node1.log", directory=directory, prefix=prefix,
            )  # fmt: skip

        owner = TaskOwner("test")
        process = Process(plan, name="node1", role="node", clock=SystemClock(), owner=owner, changed=lambda: None)
        try:
            process.start()
            await scenario(process)
        finally:
            await process.stop(signal.SIGKILL, timeout_s=5)
            await owner.aclose()

    asyncio.run(main())


async def _ready(process: Process) -> int:
    async with asyncio.timeout(5):
        await process.ready.wait()
    assert process.pid is not None
    return process.pid


def test_it_is_ready_when_it_says_so_and_ends_when_told(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        pid = await _ready(process)
        since = start_time(pid)
        assert is_alive(pid, since)
        assert not is_alive(pid, since + 1)
        await process.stop(signal.SIGTERM, timeout_s=5)
        assert process.pid is None
        assert process.last_exit == -signal.SIGTERM
        await asyncio.sleep(0.3)
        assert process.pid is None, "what was stopped stays stopped"

    _run(tmp_path, READY + SLEEP, scenario)


def test_what_dies_without_a_stop_is_started_again_within_three_seconds(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        for _ in range(2):
            pid = await _ready(process)
            os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            while process.pid in (pid, None) or not process.ready.is_set():
                await asyncio.sleep(0.01)
            assert time.monotonic() - began < 3

    _run(tmp_path, READY + SLEEP, scenario)


def test_deaths_at_the_start_are_counted_and_backed_off(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        async with asyncio.timeout(10):
            while process.deaths < 3:
                await asyncio.sleep(0.01)
        assert not process.ready.is_set()
        assert process.last_exit == 7

    _run(tmp_path, "import sys; print('last words', flush=True); sys.exit(7)", scenario)
    assert (tmp_path / "node1.log").read_text().count("last words") >= 3


def test_a_process_that_ignores_the_signal_is_killed_in_time(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        await _ready(process)
        began = time.monotonic()
        await process.stop(signal.SIGTERM, timeout_s=0.3)
        assert 0.25 < time.monotonic() - began < 3
        assert process.last_exit == -signal.SIGKILL

    _run(tmp_path, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + SLEEP, scenario)


def test_behind_a_wrapper_the_pid_is_that_of_the_process_itself(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\n"$@" &\nwait $!\n')
    wrapper.chmod(0o755)

    async def scenario(process: Process) -> None:
        pid = await _ready(process)
        assert process.run is not None
        assert pid != process.run.spawned.pid
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert int(parent) == process.run.spawned.pid
        await process.stop(signal.SIGKILL, timeout_s=5)
        assert start_time(pid) == 0, "killing the wrapper alone would leave the process behind"

    _run(tmp_path, READY + SLEEP, scenario, prefix=(str(wrapper),))


def test_when_its_wrapper_is_killed_the_process_is_ended_before_the_next_starts(tmp_path: Path) -> None:
    wrapper = tmp_path / "wrapper"
    wrapper.write_text('#!/bin/sh\n"$@" &\nwait $!\n')
    wrapper.chmod(0o755)

    async def scenario(process: Process) -> None:
        pid = await _ready(process)
        assert process.run is not None
        os.kill(process.run.spawned.pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while process.pid == pid or not process.ready.is_set():
                await asyncio.sleep(0.01)
        assert start_time(pid) == 0

    _run(tmp_path, READY + SLEEP, scenario, prefix=(str(wrapper),))


def test_the_lifeline_closes_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    # A supervisor of its own that starts one child, tells its pid, and is then killed without a chance to clean up.
    code = f"""
import asyncio, os, sys
from pathlib import Path
from objstore.cli.process import Plan, Process
from objstore.runtime.clock import SystemClock
from objstore.runtime.tasks import TaskOwner

async def main():
    async def plan():
        return Plan(name="n", role="node", command=(sys.executable, "-S", "-c", {READY + LIFELINE!r}), environment=dict(os.environ),
                    log_file=Path({str(tmp_path / "n.log")!r}), directory=Path({str(tmp_path)!r}))
    process = Process(plan, name="n", role="node", clock=SystemClock(), owner=TaskOwner("t"), changed=lambda: None)
    process.start()
    await process.ready.wait()
    print(process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
    supervisor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())
    since = start_time(pid)
    assert is_alive(pid, since)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    deadline = time.monotonic() + 3
    while is_alive(pid, since):
        assert time.monotonic() < deadline, "the child outlived its supervisor"
        time.sleep(0.01)


def test_signals_that_end_nothing_are_just_sent(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        pid = await _ready(process)
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(0.05)
        assert Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "T"
        process.signal(signal.SIGCONT)
        await process.stop(signal.SIGTERM, timeout_s=5)
        with pytest.raises(ProcessLookupError):
            process.signal(signal.SIGCONT)

    _run(tmp_path, READY + SLEEP, scenario)


def test_a_frozen_process_is_thawed_so_that_it_can_end_in_order(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        await _ready(process)
        process.signal(signal.SIGSTOP)
        await process.stop(signal.SIGTERM, timeout_s=5)
        assert process.last_exit == 5

    _run(tmp_path, "import signal, os; signal.signal(signal.SIGTERM, lambda *_: os._exit(5)); " + READY + SLEEP, scenario)


def test_a_command_that_does_not_exist_is_retried_not_fatal(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        async with asyncio.timeout(5):
            while process.deaths < 2:
                await asyncio.sleep(0.01)
        assert process.pid is None

    _run(tmp_path, "pass", scenario, prefix=("/no/such/wrapper",))
