"""The serving process keeps others of its host away from a journal."""

from pathlib import Path

import pytest

from objstore.cli.volume_serve import Serving, alone


def test_two_processes_of_a_host_never_hold_one_journal(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(OSError, match="another process"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_journals_lie_beside_the_cluster_unless_said_otherwise(tmp_path: Path) -> None:
    assert Serving(tmp_path, None, (), ()).state_directory == tmp_path / "volumes"
    assert Serving(tmp_path, tmp_path / "x", (), ()).state_directory == tmp_path / "x"
