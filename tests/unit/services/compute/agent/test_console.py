"""The end of a console's log, and its limit."""

from pathlib import Path

from objstore.services.compute.agent.console import cap, tail


def test_the_last_lines_are_shown_and_none_where_there_is_nothing(tmp_path: Path) -> None:
    assert tail(str(tmp_path), None, 100) == ""
    (tmp_path / "console.log").write_bytes(b"one\r\ntwo\r\nthree")
    assert tail(str(tmp_path), None, 100) == "one\r\ntwo\r\nthree"
    assert tail(str(tmp_path), 2, 100) == "two\r\nthree"
    assert tail(str(tmp_path), 0, 100) == ""
    assert tail(str(tmp_path), None, 5) == "three"


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_bytes(b"a\xffb")
    assert tail(str(tmp_path), None, 100) == "a\ufffdb"


def test_a_log_over_its_limit_is_set_aside_and_still_shown(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
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
