"""All rings of a cluster, as its operator sees them: the default ring, and one for each further storage policy.

Each has an `Operator` of its own; here is what is said of all of them together.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from objstore.cli.health import reasons
from objstore.cli.layout import Layout, Place
from objstore.cli.operator import Operator
from objstore.cli.supervisor import Supervisor
from objstore.runtime.world import World

COUNTS = ("healed", "quarantined", "rows_sent", "bytes_sent")
OF_A_RING = (
    "healthy", "writable", "under_replicated", "misplaced", "quarantined", "queued_repairs", "epoch", "changing", "detail", "nodes",
)  # fmt: skip


class Rings:
    """Operators by policy, made when they are first needed."""

    def __init__(self, world: World, place: Place, supervisor: Supervisor) -> None:
        self._world = world
        self._place = place
        self._supervisor = supervisor
        self._operators: dict[str, Operator] = {}

    async def aclose(self) -> None:
        """Close connections."""
        for operator in self._operators.values():
            await operator.aclose()

    def of(self, layout: Layout, policy: str = "") -> Operator:
        """The operator of one ring.  Raises ConfigError when there is no such policy."""
        found = self._operators.get(policy)
        if found is None:
            entry = layout.find_policy(policy)
            daemons = [f"daemon{number}" for number in range(1, layout.daemons + 1)] if entry is None else [entry.daemon_name]
            found = self._operators[policy] = Operator(self._world, self._place, self._supervisor, policy=policy, daemons=daemons)
        return found

    async def is_writable(self, layout: Layout) -> bool:
        """Whether every key can be written now, and bodies of every policy."""
        writable = await asyncio.gather(*(self.of(layout, policy).is_writable(layout.of_policy(policy)) for policy in _policies(layout)))
        return all(writable)

    async def status(self, layout: Layout) -> dict[str, Any]:
        """The `status` object of the control contract; further rings stand under `policies`, and are healthy where it says so of all.

        Their counts and whether they can be written to are told of each by itself: most keys do not need them.
        """
        status, *others = await asyncio.gather(*(self.of(layout, policy).status(layout.of_policy(policy)) for policy in _policies(layout)))
        status["services"] = self._processes("services")
        if layout.agents:
            status |= {"agents": self._processes("agent"), "disks": self._processes("disks")}
        if layout.policy:
            status["healthy"] = all(one["healthy"] for one in (status, *others))
            status["daemons"] = [daemon for one in (status, *others) for daemon in one["daemons"]]
            status["policies"] = [
                {"name": entry.name, "replicas": entry.replicas, "daemon": entry.daemon_name, **{key: one[key] for key in OF_A_RING}}
                for entry, one in zip(layout.policy, others, strict=True)
            ]
        if not status["healthy"]:
            status["detail"] = "; ".join(filter(None, (status["detail"], *reasons(status))))
        return status

    def _processes(self, role: str) -> list[dict[str, Any]]:
        return [{"name": process.name, "up": process.ready.is_set(), "pid": process.pid} for process in self._supervisor.of_role(role)]

    async def repair(self, layout: Layout, *, timeout_s: float) -> dict[str, Any]:
        """Replication of all rings to the end; the counts of all together."""
        return await self._all(layout, lambda operator: operator.repair(timeout_s=timeout_s))

    async def audit(self, layout: Layout, *, timeout_s: float) -> dict[str, Any]:
        """A full scrub of all rings."""
        return await self._all(layout, lambda operator: operator.audit(timeout_s=timeout_s))

    async def _all(self, layout: Layout, work: Callable[[Operator], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
        done = await asyncio.gather(*(work(self.of(layout, policy)) for policy in _policies(layout)))
        total = dict(done[0])
        for policy, one in zip(_policies(layout)[1:], done[1:], strict=True):
            total |= {name: total[name] + one[name] for name in COUNTS}
            total["finished"] = total["finished"] and one["finished"]
            for word in ("detail", "error"):
                if one.get(word):
                    total[word] = "; ".join(filter(None, (total.get(word), f"policy {policy}: {one[word]}")))
        return total


def _policies(layout: Layout) -> list[str]:
    """The default ring first."""
    return ["", *(entry.name for entry in layout.policy)]
