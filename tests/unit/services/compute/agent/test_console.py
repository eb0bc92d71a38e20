"""The end of a console's log, and its limit."""

import os
from pathlib import Path

import pytest

from objstore.services.compute.agent.console import begin, cap, tail


def test_the_last_lines_are_shown_and_none_where_there_is_nothing(tmp_path: Path) -> None:
    assert tail(str(tmp_path), None, 100) == ""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "console.log").write_bytes(b"one\r\ntwo\r\nthree")
    assert tail(str(tmp_path), None, 100) == "one\r\ntwo\r\nthree"
    assert tail(str(tmp_path), 2, 100) == "two\r\nthree"
    assert tail(str(tmp_path), 0, 100) == ""
    assert tail(str(tmp_path), None, 5) == "three"
    (tmp_path / "run" / "console.log").write_bytes(b"one\ntwo\rthree\r\n\nfour\n")
    assert tail(str(tmp_path), 1, 100) == "four\n"
    assert tail(str(tmp_path), 3, 100) == "two\rthree\r\n\nfour\n"
    assert tail(str(tmp_path), 9, 100) == "one\ntwo\rthree\r\n\nfour\n"


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "console.log").write_bytes(b"a\xffb")
    assert tail(str(tmp_path), None, 100) == "a\ufffdb"


def test_a_log_over_its_limit_is_set_aside_and_still_shown(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    log = tmp_path / "run" / "console.log"
    with log.open("ab", buffering=0) as qemu:  # which goes on writing at the end
        qemu.write(b"x" * 50 + b"before\n")
        cap(str(tmp_path), 100)
        assert log.stat().st_size == 57
        cap(str(tmp_path), 20)
        assert log.stat().st_size == 0
        qemu.write(b"after\n")
    assert tail(str(tmp_path), 2, 100) == "x" * 13 + "before\nafter\n"
    assert log.read_bytes() == b"after\n"
    cap(str(tmp_path / "nowhere"), 1)


def test_a_log_is_begun_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    begin(str(tmp_path), b"from before")
    begin(str(tmp_path), b"not again")
    begin(str(tmp_path))
    assert tail(str(tmp_path), None, 100) == "from before"


@pytest.mark.parametrize("kind", ["link", "dangling", "name", "pipe"])
def test_who_broke_out_cannot_have_other_files_read_or_cut(kind: str, tmp_path: Path) -> None:
    secret, log = tmp_path / "secret", tmp_path / "run" / "console.log"
    secret.write_text("x" * 100)
    log.parent.mkdir()
    if kind == "link":
        log.symlink_to(secret)
    elif kind == "dangling":
        log.symlink_to(tmp_path / "new")
    elif kind == "name":
        log.hardlink_to(secret)
    else:
        os.mkfifo(log)
    assert tail(str(tmp_path), None, 1000) == ""
    cap(str(tmp_path), 10)
    with pytest.raises(OSError):
        begin(str(tmp_path), b"y")
    assert secret.read_text() == "x" * 100
    assert not (tmp_path / "new").exists()
