"""The tree of commands: quick, helpful, exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from objstore.cli.commands import COMMANDS, ROLES, run
from objstore.cli.main import main


def test_every_command_of_the_table_can_be_imported_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert run([name, "--help"]) == 0
        assert "Usage: objstore " + name in capsys.readouterr().out


def test_help_lists_all_commands_and_imports_none() -> None:
    code = "import sys; from objstore.cli.main import main; main(['--help']); print([m for m in sys.modules if 'msgspec' in m or 'asyncio' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, modules = done.stdout.splitlines()
    assert all(name in done.stdout for name in COMMANDS)
    assert modules == "[]", "the help must not wait for what it does not need"


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["snipet"]) == 2
    assert "did you mean 'snippet'?" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["-h", "--help"])
@pytest.mark.parametrize("role", ROLES)
def test_a_role_says_what_it_is(role: str, asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([role, asked]) == 0
    told = capsys.readouterr().out
    assert f"objstore {role}" in told
    assert "--config FILE" in told


def test_wrong_usage_of_ctl_is_one_json_object_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)  # where there is no objstore-data
    assert run(["ctl", "status"]) == 2
    assert "--dir" in json.loads(capsys.readouterr().out)["error"]
    assert run(["ctl", "--dir", "/nonexistent", "start"]) == 2
    assert "NAME" in json.loads(capsys.readouterr().out)["error"]


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("objstore 0.")
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == told
