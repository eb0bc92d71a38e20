"""`objstore config`: check, show, schema."""

import json
import tomllib
from pathlib import Path

import pytest

from objstore.cli.commands import run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text('[layout]\nversion = 1\n\n[s3]\nregion = "eu"\n')
    return path


def test_a_good_file_is_ok_and_a_bad_one_is_named_with_its_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", "--config", str(file)]) == 0
    file.write_text('[s3]\n\nregoin = "eu"\n')
    assert run(["config", "check", "--dir", str(file.parent)]) == 1
    assert f"{file}:3" in (message := capsys.readouterr().err)
    assert "did you mean 'region'" in message
    capsys.readouterr()
    assert run(["config", "check", "--dir", "/nonexistent"]) == 1
    assert "--dir D" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "why"), [
    ('[kms]\nkind = "foo"\n', "one of local, vault"), ('[log]\nlevel = "verbose"\n', "one of debug, info, warning, error"),
    ('[objects]\nnew_bucket_ownership = "mine"\n', "ObjectWriter"),
])  # fmt: skip
def test_what_would_keep_a_process_from_starting_is_no_good_file(
    file: Path, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    file.write_text(text)
    assert run(["config", "check", "--config", str(file)]) == 1
    assert why in capsys.readouterr().err


def test_the_schema_names_what_a_setting_can_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    assert 'style = "json"  # "json" or "text"' in capsys.readouterr().out


def test_show_is_toml_with_origins_and_json_on_request(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBJSTORE_LOG__LEVEL", "debug")
    assert run(["config", "show", "--config", str(file), "--origin"]) == 0
    text = capsys.readouterr().out
    assert f'region = "eu"  # {file}:5' in text
    assert 'level = "debug"  # $OBJSTORE_LOG__LEVEL' in text
    assert tomllib.loads(text)["s3"]["region"] == "eu"
    assert run(["config", "show", "--config", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log"]["level"] == "debug"


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_show_hides_tokens_and_passwords(file: Path, capsys: pytest.CaptureFixture[str], how: tuple[str, ...]) -> None:
    targets = '[notifications.targets.q]\nurl = "amqp://me:hidden%2Fone@host/?routing_key=k"\ntoken = "hidden two"\n'
    file.write_text(targets + '[notifications.targets.plain]\nurl = "https://host/x"\n')
    assert run(["config", "show", "--config", str(file), *how]) == 0
    text = capsys.readouterr().out
    assert "hidden" not in text
    assert "amqp://me:[redacted]@host/?routing_key=k" in text
    assert "https://host/x" in text


def test_the_schema_lists_every_setting_with_type_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    text = capsys.readouterr().out
    assert "pack_size_bytes = 67108864  # int" in text
    assert run(["config", "schema", "--json"]) == 0
    assert "$defs" in json.loads(capsys.readouterr().out)
