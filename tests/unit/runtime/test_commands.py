"""Running programs: input, output, status, limits, and finding again what was started."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import uvloop

from objstore.runtime import commands

PYTHON = sys.executable


def run(*arguments: str, **options: object) -> commands.Output:
    return asyncio.run(commands.run(PYTHON, "-S", "-c", *arguments, **options))  # type: ignore[arg-type]


def test_input_arguments_output_and_errors_pass_through_unchanged() -> None:
    code = "import sys; sys.stderr.write('e'); print(sys.argv[1], sys.stdin.read())"
    assert run(code, "$(x) ; `y`", stdin=b"in") == commands.Output(0, b"$(x) ; `y` in\n", "e")


def test_status_other_than_zero_is_an_error_that_says_what_the_program_said() -> None:
    with pytest.raises(commands.CommandFailed, match="no such bridge") as caught:
        run("import sys; sys.exit('no such bridge')")
    assert caught.value.facts["code"] == 1


def test_status_is_handed_back_where_the_caller_wants_it() -> None:
    assert run("raise SystemExit(3)", check=False).code == 3


def test_program_that_takes_too_long_is_killed_with_what_it_started() -> None:
    began = time.monotonic()
    with pytest.raises(commands.CommandFailed, match=r"after 0\.5 s"):
        run("import os, time; os.fork(); time.sleep(60)", timeout_s=0.5)
    assert time.monotonic() - began < 20


def test_program_that_writes_without_end_is_killed() -> None:
    with pytest.raises(commands.CommandFailed, match="more than 1000 bytes"):
        run("while True: print('x' * 1000)", max_output_bytes=1000)


def test_input_that_a_program_does_not_read_is_no_error() -> None:
    assert run("pass", stdin=b"x" * 1_000_000).code == 0


def test_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_SYSTEM_PATHS", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(commands.ProgramMissing, match="nft is not installed: apt-get install nftables"):
        commands.find("nft")


def test_environment_with_its_secrets_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJSTORE_SECRET", "hush")
    assert run("import os; print(os.environ.get('OBJSTORE_SECRET'))").stdout == b"None\n"


def test_process_that_was_started_is_found_by_its_arguments_and_ended(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    code = "import time; print('up', flush=True); time.sleep(60)"
    process = commands.start(PYTHON, "-S", "-c", code, mark, log=str(tmp_path / "log"))
    try:
        deadline = time.monotonic() + 20
        while (tmp_path / "log").read_text() != "up\n":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert commands.is_running(process)
        assert commands.running(process.pid) == process
        assert commands.processes_with(mark)[process][-2:] == [mark, ""]
        assert os.getsid(process.pid) == process.pid
    finally:
        asyncio.run(commands.end(process))
    assert not commands.is_running(process)
    assert not commands.processes_with(mark)


def test_process_that_ignores_the_polite_signal_is_ended_by_force(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process = commands.start(PYTHON, "-S", "-c", code, log=str(tmp_path / "log"))
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    asyncio.run(commands.end(process, timeout_s=0.2))
    assert not commands.is_running(process)


def test_later_process_of_the_same_number_is_neither_found_nor_signalled() -> None:
    other = commands.Running(os.getpid(), 1)
    assert not commands.is_running(other)
    assert not commands.send_signal(other, signal.SIGKILL)


def test_descriptors_are_handed_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = commands.start(
        PYTHON, "-S", "-c", f"import os; os.write({writing}, b'hello')", log=str(tmp_path / "log"), pass_fds=(writing,)
    )
    os.close(writing)
    assert os.read(reading, 10) == b"hello"
    os.close(reading)
    asyncio.run(commands.end(process))


def test_programs_that_end_before_they_are_given_anything_end_well_on_uvloop() -> None:
    async def test() -> None:
        for _ in range(30):
            await asyncio.gather(*(commands.run("/bin/true", stdin=data) for data in (b"", b"x", b"x" * 300_000)))

    uvloop.run(test())


def test_a_program_that_ends_at_once_leaves_no_zombie(tmp_path: Path) -> None:
    for _ in range(20):
        process = commands.start("false", log=str(tmp_path / "log"))
        deadline = time.monotonic() + 10
        while commands.is_running(process):
            assert time.monotonic() < deadline
        assert not Path("/proc", str(process.pid)).exists()


def test_programs_that_ended_unseen_do_not_stay_in_the_table_of_processes(tmp_path: Path) -> None:
    ended = commands.start("true", log=str(tmp_path / "log"))
    deadline = time.monotonic() + 10
    while "Z" not in Path(f"/proc/{ended.pid}/stat").read_text().rpartition(")")[2].split()[0] and time.monotonic() < deadline:
        time.sleep(0.01)
    other = commands.start("true", log=str(tmp_path / "log"))
    assert not Path(f"/proc/{ended.pid}").exists()
    while commands.is_running(other):
        time.sleep(0.01)
