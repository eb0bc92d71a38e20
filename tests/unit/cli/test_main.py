"""The entry point: roles skip the command line library, everything else goes to it."""

import subprocess
import sys

import pytest

from objstore.cli.main import ROLES, main


@pytest.mark.parametrize("role", ROLES)
def test_a_role_without_its_argument_is_wrong_usage(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([role]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_role_with_a_missing_file_fails_with_its_name(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--config", str(tmp_path / "none.toml")]) == 1
    assert "none.toml" in capsys.readouterr().err


def test_a_role_does_not_load_the_command_line_library() -> None:
    code = "import sys; from objstore.cli.main import main; main(['node', '--config', '/nonexistent']); print('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_other_words_go_to_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("objstore ")
