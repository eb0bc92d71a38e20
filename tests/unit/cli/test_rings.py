"""What is said of all rings together, from what is said of each."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from objstore.cli.layout import Layout, new_layout
from objstore.cli.rings import OF_A_RING, Rings
from objstore.runtime.config import ConfigError

ONE = new_layout(nodes=3, devices=1, zones=3, proxies=1, port_base=21000, tls=False, uid_base=None)
TWO = new_layout(nodes=3, devices=1, zones=3, proxies=1, port_base=21000, tls=False, uid_base=None, policies=("cold=2",))


class Said:
    """What an operator of one ring says."""

    def __init__(self, name: str, *, well: bool = True) -> None:
        self.name, self.well = name, well
        self.layouts: list[Layout] = []

    async def is_writable(self, layout: Layout) -> bool:
        self.layouts.append(layout)
        return self.well

    async def status(self, layout: Layout) -> dict[str, Any]:
        self.layouts.append(layout)
        daemons = [{"name": self.name, "up": True, "pid": 1}]
        said = {**dict.fromkeys(OF_A_RING, 0), "healthy": self.well, "writable": self.well, "detail": "", "nodes": []}
        return {**said, "daemons": daemons, "proxies": []}

    async def repair(self, *, timeout_s: float) -> dict[str, Any]:
        counts = {
            "finished": self.well,
            "healed": 1,
            "quarantined": 0,
            "rows_sent": 2,
            "bytes_sent": 3,
            "detail": "" if self.well else "late",
        }
        return counts if self.well else {**counts, "error": "repair did not finish: late"}

    audit = repair


class Processes:
    """The supervisor's: one of each role, of which the services do not run."""

    def of_role(self, role: str) -> list[Any]:
        ready = asyncio.Event()
        return [SimpleNamespace(name=f"{role}1", ready=ready, pid=None)]


SERVICES = [{"name": "services1", "up": False, "pid": None}]


def rings(**policies: Said) -> Rings:
    made = Rings(None, None, Processes())  # type: ignore[arg-type] nothing more is asked of them
    made._operators = {"" if name == "default" else name: said for name, said in policies.items()}  # type: ignore[misc] see Said
    return made


def test_of_one_ring_is_told_what_it_says() -> None:
    alone = rings(default=Said("daemon1"))
    assert asyncio.run(alone.status(ONE)) == {**asyncio.run(Said("daemon1").status(ONE)), "services": SERVICES}
    assert asyncio.run(alone.repair(ONE, timeout_s=1)) == asyncio.run(Said("").repair(timeout_s=1))


def test_a_ring_that_is_ill_makes_the_cluster_so_and_leaves_the_others_writable() -> None:
    cold = Said("daemon2", well=False)
    both = rings(default=Said("daemon1"), cold=cold)
    status = asyncio.run(both.status(TWO))
    assert (status["healthy"], status["writable"]) == (False, True)
    assert [daemon["name"] for daemon in status["daemons"]] == ["daemon1", "daemon2"]
    (policy,) = status["policies"]
    assert (policy["name"], policy["replicas"], policy["daemon"], policy["writable"]) == ("cold", 2, "daemon2", False)
    assert [entry.name for entry in cold.layouts[0].node] == ["node4", "node5"]
    assert not asyncio.run(both.is_writable(TWO))


def test_a_cluster_that_is_not_healthy_says_what_is_down() -> None:
    status = asyncio.run(rings(default=Said("daemon1", well=False)).status(ONE))
    assert (status["healthy"], status["detail"]) == (False, "not running: services1")


def test_work_is_done_on_all_rings_and_counted_together() -> None:
    done = asyncio.run(rings(default=Said("daemon1"), cold=Said("daemon2")).repair(TWO, timeout_s=1))
    assert done == {"finished": True, "healed": 2, "quarantined": 0, "rows_sent": 4, "bytes_sent": 6, "detail": ""}
    late = asyncio.run(rings(default=Said("daemon1"), cold=Said("daemon2", well=False)).audit(TWO, timeout_s=1))
    assert (late["finished"], late["healed"], late["detail"]) == (False, 2, "policy cold: late")
    assert late["error"] == "policy cold: repair did not finish: late"


def test_the_operator_of_a_policy_asks_its_own_daemon() -> None:
    made = rings()
    assert made.of(TWO, "cold")._daemons == ["daemon2"]
    assert made.of(TWO)._daemons == ["daemon1"]
    assert made.of(TWO, "cold") is made.of(TWO, "cold")
    with pytest.raises(ConfigError, match="warm"):
        made.of(TWO, "warm")
    asyncio.run(made.aclose())
