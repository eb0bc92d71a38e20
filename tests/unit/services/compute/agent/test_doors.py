"""Sockets where QEMU may write: only what was looked at is used."""

import os
import socket
from pathlib import Path

import pytest

from objstore.errors import NodeUnreachable
from objstore.services.compute.agent.doors import door, give, hand_over

USER = 64_123
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as calling:
        try:
            calling.connect(path)
        except ConnectionRefusedError:
            return False
        return True


def test_the_socket_that_was_looked_at_is_the_one_that_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    secret = listening(Path("secret.sock"))
    with listening(Path("run/ser.sock")), door(str(tmp_path), "ser.sock") as path:
        assert answers(path)
        (run / "ser.sock").unlink()
        (run / "ser.sock").symlink_to(tmp_path / "secret.sock")  # whoever does that is too late
        assert answers(path)
    secret.setblocking(False)
    with pytest.raises(BlockingIOError):
        secret.accept()
    secret.close()


def test_what_is_no_socket_of_its_own_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(NodeUnreachable), door(str(tmp_path), "none.sock"):
        pass
    run.mkdir()
    with listening(Path("secret.sock")):
        (run / "link").symlink_to(tmp_path / "secret.sock")
        os.link(tmp_path / "secret.sock", run / "other-name")
        (run / "file").write_text("")
        os.mkfifo(run / "pipe")
        for name in ("link", "other-name", "file", "pipe", "none"):
            with pytest.raises(NodeUnreachable), door(str(tmp_path), name):
                pass
    assert set(os.listdir("/proc/self/fd")) <= before  # nothing is left open


@ROOT
def test_a_socket_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    with listening(Path("run/a")):
        os.chown(tmp_path / "run", USER, USER)
        with pytest.raises(NodeUnreachable, match=f"user {USER}"), door(str(tmp_path), "a"):
            pass
        os.chown(tmp_path / "run" / "a", USER, USER)
        with door(str(tmp_path), "a") as path:
            assert answers(path)


@ROOT
def test_only_the_agents_own_socket_is_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "shadow").write_text("secret")
    with listening(Path("run/migrate.sock")), listening(Path("others.sock")):
        give(str(tmp_path), "migrate.sock", USER)
        assert (run / "migrate.sock").stat().st_uid == USER
        os.link(tmp_path / "shadow", run / "shadow")
        os.link(tmp_path / "others.sock", run / "others.sock")
        for name in ("shadow", "others.sock", "migrate.sock"):  # the last one is not the agent's any more
            with pytest.raises(OSError, match="no socket of user 0"):
                give(str(tmp_path), name, USER)
    assert (tmp_path / "shadow").stat().st_uid == (tmp_path / "others.sock").stat().st_uid == 0
    give(str(tmp_path), "none", -1)  # guests run as the agent does


@ROOT
def test_what_has_another_name_elsewhere_is_not_handed_over_with_a_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "shadow").write_text("secret")
    (run / "console.log").write_text("x")
    (run / "link").symlink_to(tmp_path / "shadow")
    os.link(tmp_path / "shadow", run / "shadow")
    hand_over(str(run), USER)
    assert run.stat().st_uid == (run / "console.log").stat().st_uid == USER
    assert (tmp_path / "shadow").stat().st_uid == 0
    (tmp_path / "elsewhere").symlink_to(run)
    with pytest.raises(OSError):
        hand_over(str(tmp_path / "elsewhere"), 0)
