"""What the volume commands take and refuse before they touch a store."""

from pathlib import Path

import click
import pytest

from objstore.cli.commands import run
from objstore.cli.volume import ID, SIZE, show_head
from objstore.services.volume.layout import HOLE, SNAPSHOT, Head, Pin, Tree


def test_sizes_have_units_of_1024() -> None:
    assert [SIZE.convert(text, None, None) for text in ("512", "4K", "3m", "100G", "1T")] == [512, 4096, 3 << 20, 100 << 30, 1 << 40]
    for odd in ("", "K", "-1", "1.5G", "10X", "1KB"):
        with pytest.raises(click.BadParameter):
            SIZE.convert(odd, None, None)


def test_ids_are_checked() -> None:
    assert ID.convert("00" * 16, None, None) == bytes(16)
    with pytest.raises(click.BadParameter):
        ID.convert("../etc", None, None)


def test_a_directory_without_a_cluster_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["volume", "list", "--dir", str(tmp_path)]) == 1
    assert "there is no cluster" in capsys.readouterr().err


def test_serving_needs_a_socket(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["volume", "serve", "--dir", str(tmp_path), "00" * 16]) == 2
    assert "--socket" in capsys.readouterr().err


def test_a_volume_is_shown_with_its_snapshots() -> None:
    tree = Tree(1 << 20, 1, HOLE)
    shown = show_head(Head(b"v" * 16, 65536, tree, b"", 7, name="n", pins=(Pin(SNAPSHOT, b"s" * 16, tree, 8, "s"),)))
    assert (shown["id"], shown["size"], shown["holder"]) == ("76" * 16, 1 << 20, "")
    assert shown["snapshots"] == [{"id": "73" * 16, "name": "s", "size": 1 << 20, "created_us": 8}]
