import json
from pathlib import Path

import pytest

from objstore.cli.commands import run
from objstore.cli.layout import Place
from objstore.identity.kms import parse_keys


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.secrets.mkdir()
    place.cluster_key_file.write_text("07" * 32)
    return place


def keys(place: Place, *words: str) -> int:
    return run(["keys", *words, "--dir", str(place.root)])


def test_keys_are_added_rotated_and_listed_without_their_secrets(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(place, "add", "mine") == 0
    before = parse_keys(place.kms_file.read_text())
    assert keys(place, "rotate", "mine") == keys(place, "rotate", "objstore-s3") == 0
    after = parse_keys(place.kms_file.read_text())
    assert after["mine"][1] == before["mine"][1] != after["mine"][2]
    capsys.readouterr()
    assert keys(place, "list") == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"objstore-s3": [1, 2], "objstore-default": [1], "mine": [1, 2]}
    assert all(secret.hex() not in shown for versions in after.values() for secret in versions.values())
    assert place.kms_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("words", [("add", "objstore-s3"), ("rotate", "nobody"), ("add", "a/b"), ("add", "alias/mine"), ("rotate", "")])
def test_names_that_do_not_fit_change_nothing(place: Place, words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(place, "list") == 0
    before = place.kms_file.read_text()
    assert keys(place, *words) == 1
    assert place.kms_file.read_text() == before
    assert "error:" in capsys.readouterr().err


def test_a_directory_without_a_cluster_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "list", "--dir", str(tmp_path)]) == 1
    assert "error:" in capsys.readouterr().err
