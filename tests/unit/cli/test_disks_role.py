"""The process that serves a host's volumes: what it must be told, who may open its socket."""

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from objstore.cli.disks_role import _let_in, run_disks
from objstore.cli.settings import ROLE_SECTIONS, load_settings
from objstore.runtime.config import ConfigError


def test_it_says_what_it_was_not_told() -> None:
    settings = load_settings(ROLE_SECTIONS["disks"], environment={}, overrides=["disks.control=x"]).settings
    with pytest.raises(ConfigError, match="'nbd'"):
        asyncio.run(run_disks(settings))
    assert isinstance(settings.disks, msgspec.Struct)


def test_the_socket_is_opened_to_a_group_only_where_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s"
    old = os.umask(0o077)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            _let_in(str(path), -1)
            assert path.stat().st_mode & 0o777 == 0o700
            _let_in(str(path), os.getgid())
            assert path.stat().st_mode & 0o777 == 0o660
    finally:
        os.umask(old)
