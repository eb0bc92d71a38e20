"""The supervisor's own logic: options by name, stale processes, rotation of logs, order of stopping."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from objstore.cli.layout import Place, new_layout
from objstore.cli.process import READY_FD, Plan, is_alive, start_time
from objstore.cli.supervisor import RunOptions, Supervisor, end_stale, rotate
from objstore.cli.world import system_world
from objstore.runtime.config import ConfigError
from tests.support.cluster import free_port_base

# Says that it is ready; notes its name when it is told to end.
CHILD = f"""
import os, json, signal, sys, time
name, notes = sys.argv[1:]
def end(*_):
    with open(notes, "a") as file: file.write(name + "\\n")
    os._exit(0)
def end_with_guests(*_):
    global name
    name += " and its guests"
    end()
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGQUIT, end_with_guests)
os.write(int(os.environ['{READY_FD}']), json.dumps(dict(pid=os.getpid())).encode() + b"\\n")
time.sleep(60)
"""


class Stubs(Supervisor):
    """A supervisor whose processes are small scripts."""

    fail: str = ""

    async def _plan(self, name: str, role: str) -> Plan:
        code = "raise SystemExit('it broke')" if name == self.fail else CHILD
        return Plan(
            name=name, role=role, command=(sys.executable, "-S", "-c", code, name, str(self._place.run / "notes")),
            environment=self._options.environment(name), log_file=self._place.log / f"{name}.log", directory=self._place.root,
            prefix=self._options.prefix(name),
        )  # fmt: skip


def _run(root: Path, scenario: Callable[[Stubs], Awaitable[None]], *, fail: str = "", agents: int = 0) -> Place:
    place = Place(root)
    for path in (place.log, place.run):
        path.mkdir(exist_ok=True)

    async def main() -> None:
        supervisor = Stubs(system_world(), place, RunOptions())
        supervisor.fail = fail
        supervisor.adopt(new_layout(nodes=2, devices=1, zones=1, proxies=1, port_base=21000, tls=False, uid_base=None, agents=agents))
        try:
            await scenario(supervisor)
        finally:
            await supervisor.stop_all(timeout_s=1)
            await supervisor.aclose()

    asyncio.run(main())
    return place


def test_everything_starts_and_is_stopped_proxies_first_nodes_last(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        await supervisor.start_all()
        assert await supervisor.wait_ready(list(supervisor.processes), timeout_s=10) == []
        assert list(supervisor.pids()) == ["node1", "node2", "proxy1", "daemon1", "services1"]

    place = _run(tmp_path, scenario)
    names = (place.run / "notes").read_text().split()
    assert names[:3] == ["services1", "proxy1", "daemon1"]
    assert sorted(names[3:]) == ["node1", "node2"]


def test_guests_end_before_everything_and_their_disks_before_the_store(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        await supervisor.start_all()
        assert await supervisor.wait_ready(list(supervisor.processes), timeout_s=10) == []
        assert list(supervisor.pids())[-2:] == ["disks1", "agent1"]

    place = _run(tmp_path, scenario, agents=1)
    assert (place.run / "notes").read_text().splitlines()[:3] == ["agent1 and its guests", "disks1", "services1"]


def test_a_process_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        await supervisor.start_all()
        assert await supervisor.wait_ready(list(supervisor.processes), timeout_s=20) == ["node2"]
        assert "it broke" in supervisor.last_words("node2")
        with pytest.raises(ConfigError, match=r"no process 'node7'.*node1, node2, proxy1, daemon1, services1"):
            supervisor.find("node7")

    _run(tmp_path, scenario, fail="node2")


def test_what_does_not_get_ready_in_time_is_an_error(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        with pytest.raises(ConfigError, match=r"node1 did not get ready within 0\.1 s"):
            await supervisor.wait_ready(["node1"], timeout_s=0.1)

    _run(tmp_path, scenario)


def test_a_port_that_somebody_else_has_is_named_and_one_that_comes_free_is_waited_for(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            base = taken.getsockname()[1] - 100  # where node1 would listen
            layout = new_layout(nodes=2, devices=1, zones=1, proxies=1, port_base=free_port_base(), tls=False, uid_base=None)
            layout = msgspec.structs.replace(layout, node=(msgspec.structs.replace(layout.node[0], port=base + 100), layout.node[1]))
            taken.listen()
            asyncio.get_running_loop().call_later(0.2, taken.close)
            await supervisor.wait_for_ports(layout)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", base + 100))
            taken.listen()
            with pytest.raises(ConfigError, match=rf"node1 needs port {base + 100}.*--port-base"):
                await supervisor.wait_for_ports(layout)

    _run(tmp_path, scenario)


def test_pids_on_disk_let_a_later_supervisor_end_what_is_left(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run.mkdir()
    left = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    other = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    try:
        since = start_time(left.pid)
        # The second one's number was given to another process since: same pid, other start time.
        place.pids_file.write_text(json.dumps([[left.pid, since], [other.pid, start_time(other.pid) - 1], [2**22 - 1, 5]]))
        assert end_stale(place) == [(left.pid, since)]
        assert left.wait(5) == -9
        assert other.poll() is None
        assert not is_alive(left.pid, since)
        assert end_stale(place) == []
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', "[[1]]", '[["x", 2]]', "null"])
def test_a_damaged_list_of_pids_is_no_list(tmp_path: Path, text: str) -> None:
    place = Place(tmp_path)
    place.run.mkdir()
    place.pids_file.write_text(text)
    assert end_stale(place) == []


def test_running_processes_are_on_disk_with_their_start_times(tmp_path: Path) -> None:
    async def scenario(supervisor: Stubs) -> None:
        supervisor.find("node1").start()
        await supervisor.wait_ready(["node1"], timeout_s=10)
        recorded = json.loads(Place(tmp_path).pids_file.read_text())
        pid = supervisor.pids()["node1"]
        assert [pid, start_time(pid)] in recorded

    _run(tmp_path, scenario)


def test_prefixes_and_environments_are_for_all_or_for_one() -> None:
    options = RunOptions()
    options.set_prefixes(["env A=1", "node2:nice -n 5", "proxy1:"])
    assert options.prefix("node1") == ["env", "A=1"]
    assert options.prefix("node2") == ["nice", "-n", "5"]
    assert options.prefix("proxy1") == []
    options.set_environments(["X=all", "node1:X=one:two", "node1:Y="])
    assert options.environment("node2")["X"] == "all"
    assert options.environment("node1")["X"] == "one:two"
    assert options.environment("node1")["Y"] == ""
    assert options.environment("node1")["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("prefix", ["no-such-command-here x", "node1:no-such-command-here", 'env "unfinished'])
def test_a_prefix_that_cannot_run_is_refused_before_anything_starts(prefix: str) -> None:
    with pytest.raises(ConfigError, match="--exec-prefix"):
        RunOptions().set_prefixes([prefix])


@pytest.mark.parametrize("text", ["X", "node1:X", "=x", "node1:=x"])
def test_an_environment_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--env"):
        RunOptions().set_environments([text])


def test_a_rotated_log_keeps_its_writers_and_its_past(tmp_path: Path) -> None:
    path = tmp_path / "node1.log"
    with path.open("a") as writer:
        for number in range(5):
            writer.write(f"line {number}\n")
            writer.flush()
            rotate(path)
        writer.write("after\n")
        writer.flush()
    assert path.read_text() == "after\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["node1.log", "node1.log.1", "node1.log.2", "node1.log.3"]
    assert (tmp_path / "node1.log.1").read_text() == "line 4\n"
    assert (tmp_path / "node1.log.3").read_text() == "line 2\n"
