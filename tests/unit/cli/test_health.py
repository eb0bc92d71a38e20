"""Reasons in words: who is down, who is silent, which device is out of service."""

from typing import Any

from objstore.cli.health import down, reasons


def _node(name: str, *, up: bool = True, pid: int | None = 1, state: str = "up") -> dict[str, Any]:
    return {"name": name, "up": up, "pid": pid, "devices": [{"path": f"/c/{name}/d1", "state": state if up else "unreachable"}]}


STATUS: dict[str, Any] = {
    "nodes": [_node("node1"), _node("node2", state="full"), _node("node3", up=False)],
    "policies": [{"nodes": [_node("node4", up=False, pid=None)]}],
    "proxies": [{"name": "proxy1", "up": True, "pid": 5}],
    "daemons": [{"name": "daemon1", "up": True, "pid": 6}],
    "services": [{"name": "services1", "up": False, "pid": None}],
}


def test_what_does_not_run_and_what_does_not_answer_are_named_with_devices_out_of_service() -> None:
    assert reasons(STATUS) == ["not running: node4, services1", "not answering: node3", "node2/d1 is full"]


def test_all_that_is_down_is_named_whichever_ring_it_is_in() -> None:
    assert down(STATUS) == ["node3", "node4", "services1"]


def test_of_a_cluster_that_is_well_nothing_is_said() -> None:
    assert reasons({"nodes": [_node("node1")], "proxies": [], "daemons": []}) == []
