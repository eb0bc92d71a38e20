"""The desk in a real supervisor without a cluster: what cannot be is refused, and leaves nothing behind."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.cli.client import CallFailed, bring_down, call, ensure_supervisor
from objstore.cli.layout import Place


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "c"
    ensure_supervisor(directory)
    yield directory
    with contextlib.suppress(CallFailed):
        bring_down(directory, timeout_s=10)


def test_before_up_there_is_nothing_to_ask_about(root: Path) -> None:
    for name, arguments in (("status", {}), ("summary", {}), ("add_node", {}), ("drain", {"name": "node1"}), ("remove", {"name": "node1"})):
        with pytest.raises(CallFailed, match="not up") as caught:
            call(root, name, arguments, timeout_s=10)
        assert caught.value.kind == "ConfigError"
    assert call(root, "pids", timeout_s=10) == {}
    with pytest.raises(CallFailed, match="no process 'node1'"):
        call(root, "start", {"name": "node1"}, timeout_s=10)


def test_a_shape_or_setting_that_cannot_be_leaves_no_cluster_behind(root: Path, tmp_path: Path) -> None:
    for arguments, hint in (
        ({"new": {"nodes": 0}}, "--nodes"),
        ({"new": {"port_base": 1}}, "--port-base"),
        ({"exec_prefix": ["no-such-command"]}, "no-such-command"),
        ({"environment": ["x"]}, "--env"),
        ({"identities": str(tmp_path / "none")}, "identities"),
    ):
        with pytest.raises(CallFailed, match=hint):
            call(root, "up", arguments, timeout_s=10)
        assert not Place(root).exists()
