"""The child's side of supervision: ready line, lifeline, signals; nothing of it without a supervisor."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.cli.child import Supervised, die_with_supervisor, settle_scheduling
from objstore.cli.process import LIFELINE_FD, READY_FD, RUN_AS, SUPERVISOR_PID
from objstore.runtime.config import ConfigError


def test_ready_is_told_once_with_the_own_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setenv(READY_FD, str(write))

    async def main() -> None:
        supervised = Supervised()
        supervised.ready(port=7)
        supervised.ready(port=8)

    asyncio.run(main())
    with os.fdopen(read, "rb") as ready:
        assert json.loads(ready.read()) == {"pid": os.getpid(), "port": 7}
    assert READY_FD not in os.environ, "grandchildren must not inherit it"


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (READY_FD, LIFELINE_FD, SUPERVISOR_PID):
        monkeypatch.delenv(name, raising=False)
    die_with_supervisor()

    async def main() -> None:
        Supervised().ready()

    asyncio.run(main())


def test_a_signal_asks_for_an_orderly_end() -> None:
    async def main() -> None:
        supervised = Supervised()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await supervised.asked_to_stop()

    asyncio.run(main())


def test_when_the_lifeline_closes_the_process_ends_at_once(tmp_path: Path) -> None:
    code = "import asyncio\nfrom objstore.cli.child import Supervised\nasync def main():\n    Supervised().ready()\n    await asyncio.sleep(60)\nasyncio.run(main())"
    ready_read, ready_write = os.pipe()
    lifeline_read, lifeline_write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, READY_FD: str(ready_write), LIFELINE_FD: str(lifeline_read)}, pass_fds=(ready_write, lifeline_read),
    )  # fmt: skip
    os.close(ready_write)
    os.close(lifeline_read)
    with os.fdopen(ready_read, "rb") as ready:
        assert json.loads(ready.readline())["pid"] == child.pid
    assert child.poll() is None
    os.close(lifeline_write)
    assert child.wait(5) == -signal.SIGKILL


def test_a_direct_child_dies_with_its_parent_even_when_its_loop_is_stuck(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", '''
import time
from objstore.cli.child import die_with_supervisor
die_with_supervisor()
print("set", flush=True)
time.sleep(60)
'''], env={{**os.environ, {SUPERVISOR_PID!r}: str(os.getpid())}}, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    pidfd = os.pidfd_open(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    import select

    assert select.select([pidfd], [], [], 5)[0], "the child outlived its parent"
    os.close(pidfd)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become others")
def test_a_process_becomes_the_user_it_is_told_and_can_still_read_its_program(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "secret").write_text("for root")
    code = f"""
import os, threading
from objstore.cli.child import run_as_told
run_as_told()
def work():
    print(os.getresuid(), os.getresgid(), os.getgroups(), open({str(closed / "secret")!r}).read())
thread = threading.Thread(target=work); thread.start(); thread.join()
import difflib
try: os.setuid(0)
except PermissionError: print("no way back")
open({str(tmp_path / "mine")!r}, "w").close()
"""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, RUN_AS: "41007"}, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["(41007, 41007, 41007) (41007, 41007, 41007) [] for root", "no way back"], done.stderr
    assert (tmp_path / "mine").stat().st_uid == 41007


_IN_HEAP = """
import sys, threading
from objstore.cli.child import settle_allocator
if sys.argv[1] == "settled":
    settle_allocator()
found = []
def allocate():
    data = bytes(100_000)
    heap = next(line for line in open("/proc/self/maps") if "[heap]" in line)
    low, high = (int(end, 16) for end in heap.split()[0].split("-"))
    found.append(low <= id(data) < high)
thread = threading.Thread(target=allocate)
thread.start()
thread.join()
print(found[0])
"""


@pytest.mark.parametrize(("how", "shared"), [("settled", "True"), ("plain", "False")])
def test_threads_share_the_one_heap_once_the_allocator_is_settled(how: str, shared: str) -> None:
    done = subprocess.run([sys.executable, "-c", _IN_HEAP, how], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == shared


_HOLES = """
import sys
from objstore.cli.child import give_back_memory, settle_allocator
settle_allocator()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
pieces = [bytes(100_000) for _ in range(400)]
kept = [bytes(2000) for _ in range(40)]
del pieces[1:-1]
before = resident()
if sys.argv[1] == "given back":
    give_back_memory()
print((before - resident()) // 1_000_000)
"""


@pytest.mark.parametrize(("how", "least_mb", "most_mb"), [("given back", 20, 45), ("not", 0, 1)])
def test_freed_buffers_in_the_middle_of_the_heap_go_back_to_the_kernel(how: str, least_mb: int, most_mb: int) -> None:
    done = subprocess.run([sys.executable, "-c", _HOLES, how], capture_output=True, text=True, check=True)
    assert least_mb <= int(done.stdout) <= most_mb


def test_the_end_of_the_whole_cluster_is_told_from_the_end_of_one_process() -> None:
    async def ended_by(number: signal.Signals) -> bool:
        supervised = Supervised()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await supervised.asked_to_stop()
        return supervised.for_good

    assert [asyncio.run(ended_by(number)) for number in (signal.SIGTERM, signal.SIGQUIT)] == [False, True]


def test_the_policy_of_the_scheduler_holds_for_threads_started_later() -> None:
    program = (
        "import os, threading; from objstore.cli.child import settle_scheduling; settle_scheduling('batch'); found = []; "
        "thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(threading.get_native_id()))); "
        "thread.start(); thread.join(); assert found == [os.SCHED_BATCH], found; "
        "settle_scheduling('normal'); assert os.sched_getscheduler(0) == os.SCHED_OTHER"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_a_policy_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch, normal"):
        settle_scheduling("fifo")
