"""Short forms of the torture runs (tests/torture) on real processes; `make torture` runs them at full length."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster import free_port_base
from tests.torture import change, crash, race, realinput

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk image of its own to cut its power: needs root")


def test_every_acknowledged_write_survives_kill_9_of_everything(tmp_path: Path) -> None:
    crash.kill_all_under_load(tmp_path, rounds=3, load_s=1.0, port_base=free_port_base())


@needs_root
def test_every_acknowledged_write_survives_a_power_cut_of_all_disks(tmp_path: Path) -> None:
    # In a process of its own: the mounts must be in a private namespace.
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "powercut", "--rounds", "2", "--port-base", str(free_port_base())], check=False, timeout=300
    )
    assert done.returncode == 0


def test_racing_conditional_creates_have_one_winner(tmp_path: Path) -> None:
    race.one_winner(tmp_path, rounds=60, port_base=free_port_base())


def test_a_listing_through_the_other_proxy_is_right_at_once(tmp_path: Path) -> None:
    race.listing_is_right(tmp_path, keys=400, port_base=free_port_base())


def test_growing_and_shrinking_under_load_loses_nothing(tmp_path: Path) -> None:
    change.grow_and_shrink(tmp_path, port_base=free_port_base(), stale_s=5.0)


def test_flipped_bits_are_never_served_and_are_healed(tmp_path: Path) -> None:
    change.bit_flips(tmp_path, flips=25, port_base=free_port_base())


@pytest.mark.parametrize("tls", [pytest.param(False, marks=pytest.mark.slow, id="http"), pytest.param(True, id="tls")])
def test_real_files_come_back_through_real_clients_under_faults(tmp_path: Path, tls: bool) -> None:
    realinput.real_input(tmp_path, files=120, large_bytes=20 << 20, port_base=free_port_base(), tls=tls)
