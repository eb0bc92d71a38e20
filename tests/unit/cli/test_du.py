"""`objstore du` in front of a supervisor that answers from memory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from objstore.cli import du
from objstore.cli.client import CallFailed
from objstore.cli.main import main

ZERO = dict.fromkeys(du.COUNTS, 0)
PHOTOS = {"bucket": "photos", "account": "alice", "id": "01", **ZERO, "objects": 2, "bytes": 3000, "stored_bytes": 9000}
FILMS = {"bucket": "films", "account": "bob", "id": "02", **ZERO, "objects": 1, "bytes": 10, "uploads": 1, "stored_bytes": 30}


def answer(_: Path, name: str, asked: Mapping[str, Any], *, timeout_s: float) -> Any:
    assert timeout_s
    if name == "list_holdings":
        both = [row for row in (FILMS, PHOTOS) if asked["bucket"] in ("", row["bucket"])]
        return {"buckets": both[:1], "next": "more" if len(both) > 1 else ""} if not asked["after"] else {"buckets": both[1:], "next": ""}
    counts = {**ZERO, "objects": 1, "bytes": 5}
    return {"groups": {asked["prefix"]: counts, "a/b/": counts}, "cursor": "" if asked["cursor"] else "0:00:"}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(du, "call", answer)
    return str(tmp_path)


def test_all_buckets_and_a_total(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["du", "--dir", directory, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["bucket"] for row in shown["buckets"]] == ["films", "photos"]
    assert shown["total"] == {**ZERO, "objects": 3, "bytes": 3010, "uploads": 1, "stored_bytes": 9030}
    assert main(["du", "--dir", directory]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("(by counters)")
    assert lines[2].split()[:3] == ["2", "2.9", "KiB"]
    assert [line.split()[-1] for line in lines[1:]] == ["films", "photos", "total"]


def test_directories_below_a_prefix(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["du", "--dir", directory, "--bucket", "photos", "--prefix", "a/", "--depth", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["prefix"], row["objects"], row["bytes"]) for row in shown["entries"]] == [("a/", 2, 10), ("a/b/", 2, 10)]
    assert shown["total"]["objects"] == 2
    assert main(["du", "--dir", directory, "--bucket", "photos", "--exact", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["objects"] == 2


def test_long_scans_say_how_far_they_are(directory: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(du, "QUIET_S", 0.0)
    assert main(["du", "--dir", directory, "--bucket", "photos", "--exact", "--json"]) == 0
    assert "2 rows of photos" in capsys.readouterr().err


def test_what_cannot_be_asked_is_refused(directory: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["du", "--dir", directory, "--prefix", "a"]) == 2
    assert main(["du", "--dir", directory, "--bucket", "none"]) == 4
    monkeypatch.setattr(du, "GROUPS_LIMIT", 1)
    assert main(["du", "--dir", directory, "--bucket", "photos", "--depth", "1"]) == 1

    def silent(*_: Any, **__: Any) -> Any:
        raise CallFailed("no supervisor runs")

    monkeypatch.setattr(du, "call", silent)
    assert main(["du", "--dir", directory]) == 1
    assert "no supervisor runs" in capsys.readouterr().err
