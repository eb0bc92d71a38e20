"""Where routers route: each on one host, near its ports; on another one when that host is gone."""

from sqlalchemy import func, select

from objstore.services.network.ports import ROUTER_INTERFACE
from objstore.services.network.records import Row, Tx, change, count, rows
from objstore.services.network.tables import HOSTS, PORTS, ROUTERS

ROUTING_DRIVERS = ("netns",)  # those of drivers that can route


def routing_hosts(tx: Tx) -> list[str]:
    """Hosts that routers may be on, in order."""
    return sorted(row["host"] for row in rows(tx, HOSTS, HOSTS.c.routes.is_(True)))


def place(tx: Tx, router: Row) -> None:
    """Find a host for a router that has none that works: where most of its ports are, then where the fewest routers are."""
    hosts = routing_hosts(tx)
    if router["host"] in hosts:
        return
    networks = select(PORTS.c.network_id).where(PORTS.c.device_id == router["id"], PORTS.c.device_owner == ROUTER_INTERFACE)
    query = select(PORTS.c.host, func.count()).where(PORTS.c.network_id.in_(networks), PORTS.c.host.in_(hosts)).group_by(PORTS.c.host)
    near = {row[0]: row[1] for row in tx.connection.execute(query)}
    best = min(hosts, key=lambda host: (-near.get(host, 0), count(tx, ROUTERS, ROUTERS.c.host == host), host), default="")
    change(tx, ROUTERS, router, {"host": best})


def place_all(tx: Tx) -> None:
    """Find hosts for all routers that have none that works."""
    hosts = routing_hosts(tx)
    for router in rows(tx, ROUTERS, ROUTERS.c.host.not_in(hosts)):
        place(tx, router)
