"""The control socket: typed questions and answers over a real Unix socket."""

import asyncio
from pathlib import Path

import pytest
import uvloop

from objstore.cli.world import system_world
from objstore.daemons.control import (
    Audit,
    ControlFailed,
    ControlServer,
    DaemonRequest,
    Repair,
    Status,
    StatusResult,
    WorkResult,
    ask,
)
from objstore.errors import DeadlineExceeded, InvalidArgument, NodeUnreachable, QuorumLost


async def _status(_: Status) -> StatusResult:
    return StatusResult(epoch=3, under_replicated=1, misplaced=2, queued_repairs=4, quarantined=5, changing=True)


async def _repair(request: Repair) -> WorkResult:
    if request.timeout_s == 0:
        raise ZeroDivisionError("nobody thought of this")
    if request.timeout_s < 1:
        raise QuorumLost("two of three are silent")
    return WorkResult(finished=True, healed=1, quarantined=0, rows_sent=2, bytes_sent=3)


async def _audit(_: Audit) -> WorkResult:
    await asyncio.sleep(30)
    raise AssertionError


HANDLERS = {Status: _status, Repair: _repair, Audit: _audit}


def _run(directory: Path, scenario) -> None:
    async def main() -> None:
        world = system_world()
        address = f"unix:{directory}/control.sock"
        server = ControlServer(world, requests=DaemonRequest, handlers=HANDLERS)
        await server.start(address)
        try:
            await scenario(world, address)
        finally:
            await server.aclose()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())


def test_a_question_is_answered_by_its_handler_with_typed_values(tmp_path: Path) -> None:
    async def scenario(world, address) -> None:
        status = await ask(world, address, Status(), StatusResult, timeout_s=2)
        assert status == StatusResult(epoch=3, under_replicated=1, misplaced=2, queued_repairs=4, quarantined=5, changing=True)
        work = await ask(world, address, Repair(timeout_s=5), WorkResult, timeout_s=2)
        assert (work.healed, work.rows_sent, work.bytes_sent) == (1, 2, 3)

    _run(tmp_path, scenario)


def test_a_failing_handler_answers_with_the_class_and_message_of_its_error(tmp_path: Path) -> None:
    async def scenario(world, address) -> None:
        with pytest.raises(ControlFailed, match="two of three are silent") as caught:
            await ask(world, address, Repair(timeout_s=0.5), WorkResult, timeout_s=2)
        assert caught.value.facts["error"] == "QuorumLost"
        with pytest.raises(ControlFailed, match="nobody thought of this"):
            await ask(world, address, Repair(timeout_s=0), WorkResult, timeout_s=2)
        assert (await ask(world, address, Status(), StatusResult, timeout_s=2)).epoch == 3

    _run(tmp_path, scenario)


def test_a_slow_handler_ends_in_a_deadline_and_does_not_stop_the_others(tmp_path: Path) -> None:
    async def scenario(world, address) -> None:
        with pytest.raises(DeadlineExceeded):
            await ask(world, address, Audit(), WorkResult, timeout_s=0.1)
        assert (await ask(world, address, Status(), StatusResult, timeout_s=2)).epoch == 3

    _run(tmp_path, scenario)


@pytest.mark.parametrize("line", [b"nonsense", b'{"call": "no such"}', b'{"call": "status", "more": 1}', b"[]", b""])
def test_what_is_no_request_is_refused_and_the_connection_lives(tmp_path: Path, line: bytes) -> None:
    async def scenario(world, address) -> None:
        reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        writer.write(line + b"\n" + b'{"call": "status"}\n')
        assert b"InvalidArgument" in await reader.readline()
        assert b'"epoch":3' in await reader.readline()
        writer.close()
        await writer.wait_closed()

    _run(tmp_path, scenario)


def test_refused_requests_raise_invalid_argument_at_the_caller(tmp_path: Path) -> None:
    async def scenario(world, address) -> None:
        from objstore.daemons.control import ControlRequest

        class Unknown(ControlRequest, frozen=True, tag="unknown"):
            pass

        with pytest.raises(InvalidArgument):
            await ask(world, address, Unknown(), StatusResult, timeout_s=2)

    _run(tmp_path, scenario)


def test_nobody_listening_is_unreachable(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(NodeUnreachable):
            await ask(system_world(), f"unix:{tmp_path}/none.sock", Status(), StatusResult, timeout_s=1)

    asyncio.run(main())
