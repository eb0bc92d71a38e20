"""Namespaces as far as one can go without making any; the rest is in tests/conformance/test_network_driver.py."""

import os
import threading
from pathlib import Path

import pytest

from objstore.runtime import namespaces


def test_names_are_listed_and_a_missing_directory_has_none(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert namespaces.listed(str(tmp_path)) == ["a", "b"]
    assert namespaces.listed(str(tmp_path / "c")) == []


def test_call_is_made_here_where_no_namespace_is_named() -> None:
    assert namespaces.inside("", lambda a: a + 1, 2) == 3


def test_namespace_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        namespaces.inside("/run/netns/objstore-nothing", lambda: None)


def test_own_namespace_is_the_same_after_an_entry_that_fails(tmp_path: Path) -> None:
    own = Path("/proc/thread-self/ns/net").readlink()
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        namespaces.inside(str(tmp_path / "file"), lambda: None)
    assert Path("/proc/thread-self/ns/net").readlink() == own


def test_file_that_holds_no_namespace_is_told_from_one_that_does(tmp_path: Path) -> None:
    (tmp_path / "half").touch()
    assert namespaces.is_namespace("/proc/self/ns/net")
    assert not namespaces.is_namespace("/proc/self/ns/mnt")
    assert not namespaces.is_namespace(str(tmp_path / "half"))
    assert not namespaces.is_namespace(str(tmp_path / "nothing"))


def test_device_that_is_not_there_is_not_made() -> None:
    with pytest.raises(OSError, match="no device objstore-none"):
        namespaces.tap_descriptor("objstore-none")


def test_settings_that_are_not_there_are_told() -> None:
    assert namespaces.set_values([("net/nothing/at/all", "1")]) == ["net/nothing/at/all: No such file or directory"]
    assert namespaces.value("net/nothing/at/all") == ""
    assert namespaces.value("net/ipv4/ip_forward") in ("0", "1")


def test_socket_listens_also_before_its_address_is_there() -> None:
    made = namespaces.listening_socket("192.0.2.77", 0, "")
    assert made.getsockname()[0] == "192.0.2.77"
    made.close()


def test_asking_what_is_possible_leaves_the_asking_process_where_it_is() -> None:
    own = Path("/proc/self/ns/net").readlink()
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(namespaces.why_not()))
    thread.start()
    thread.join()
    assert Path("/proc/self/ns/net").readlink() == own
    assert isinstance(found[0], str)
    assert isinstance(namespaces.filters_bridges(), bool)


def test_a_root_that_is_no_mount_point_is_seen() -> None:
    mounted = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n24 22 0:22 / /proc rw - proc proc rw\n"
    assert namespaces._root_is_mounted(mounted)
    assert not namespaces._root_is_mounted(mounted.replace("/ / rw,relatime", "/ /fresh rw,relatime"))


def test_device_that_is_not_there_has_no_shortcut_to_turn_off() -> None:
    with pytest.raises(OSError):
        namespaces.take_no_shortcut("objstore-none")


def test_process_is_told_from_those_of_other_namespaces(tmp_path: Path) -> None:
    assert namespaces.is_inside("/proc/self/ns/net", os.getpid())
    assert not namespaces.is_inside(str(tmp_path), os.getpid())
    assert not namespaces.is_inside(str(tmp_path / "nothing"), os.getpid())
    assert not namespaces.is_inside("/proc/self/ns/net", 2**22 + 1)
