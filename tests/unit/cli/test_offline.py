"""fsck and rebuild-index from the command line, on a device with a few rows."""

import asyncio
import json
from pathlib import Path

import pytest

from objstore.cli.commands import run
from objstore.cli.world import system_world
from objstore.core.rows import BodyKind, Kind, Row, RowKey, encode_row
from objstore.core.timestamp import ballot_at
from objstore.errors import DeviceOffline
from objstore.node.engine.engine import Engine
from objstore.node.engine.fsck import fsck
from objstore.node.engine.identity import format_device
from objstore.node.engine.rebuild import rebuild_index
from objstore.node.engine.settings import EngineSettings


@pytest.fixture
def device(tmp_path: Path) -> Path:
    directory = tmp_path / "d1"
    directory.mkdir()

    async def fill() -> None:
        world = system_world()
        await format_device(world, str(directory))
        engine = await Engine.open(world, str(directory), EngineSettings())
        for number in range(10):
            ballot = ballot_at((number + 1) << 12, 1)
            row = Row(kind=Kind.OBJECT, operation=b"o" * 16, origin=ballot, base=ballot, modified_us=1, body=BodyKind.NONE)
            key = RowKey(b"b" * 8, 0, b"key-%d" % number)
            answer = await engine.accept(key, partition=number, ballot=ballot, row=encode_row(row))
            assert answer.verdict == "yes"
        await engine.close()

    asyncio.run(fill())
    return directory


def _json(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    code = run(words)
    return code, json.loads(capsys.readouterr().out)


def test_a_good_device_is_clean(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = _json(["fsck", str(device)], capsys)
    assert (code, report["clean"], report["registers"]) == (0, True, 10)


def test_a_damaged_pack_is_found_with_exit_1(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [pack] = (device / "packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    code, report = _json(["fsck", str(device)], capsys)
    assert code == 1
    assert report["findings"]


def test_an_index_that_is_gone_is_made_anew(device: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in device.rglob("*.mdb"):
        path.unlink()
    code, report = _json(["rebuild-index", str(device)], capsys)
    assert (code, report["registers"], report["lost_records"]) == (0, 10, 0)
    code, report = _json(["fsck", str(device)], capsys)
    assert (code, report["registers"]) == (0, 10)


def test_a_device_that_a_node_has_open_is_neither_checked_nor_opened_nor_rebuilt(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.node.engine.device._LOCK_WAIT_S", 0.1)

    async def main() -> None:
        engine = await Engine.open(system_world(), str(device), EngineSettings())
        try:
            with pytest.raises(DeviceOffline, match="in use by another process"):
                await Engine.open(system_world(), str(device), EngineSettings())
            with pytest.raises(DeviceOffline, match="in use by another process"):
                await rebuild_index(system_world(), str(device), EngineSettings())
            with pytest.raises(DeviceOffline, match="in use by another process"):
                fsck(system_world(), str(device))
        finally:
            await engine.close()
        assert not [path for path in device.iterdir() if path.name == "generation"], "nothing was changed"
        await (await Engine.open(system_world(), str(device), EngineSettings())).close()

    asyncio.run(main())


def test_a_directory_that_is_no_device_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fsck", str(tmp_path)]) == 1
    assert "never formatted" in capsys.readouterr().out
    assert run(["fsck", str(tmp_path / "none")]) == 2
