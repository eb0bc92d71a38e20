"""What the network service's calls work on: the database, the settings, transactions; and how it starts."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from objstore.runtime.sql import IntegrityError, Sql
from objstore.runtime.world import World
from objstore.services.network import records
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Tx, Who
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import SCHEMA
from objstore.services.tables.migrations import migrate

T = TypeVar("T")
ATTEMPTS = 5  # of a transaction that met another one's row with the same key
SYSTEM = Who("", admin=True)


class NetworkService:
    """One process's part of the service."""

    def __init__(self, sql: Sql, world: World, settings: NetworkSettings, region: str = "") -> None:
        self.sql = sql
        self.world = world
        self.settings = settings
        self.region = region
        # Every change counts up one row, so on PostgreSQL two at once make one of them start over.  Those of this process wait instead; nothing but
        # speed hangs on it.
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Bring the tables up to date.  Raises Unavailable, SchemaAhead."""
        await migrate(self.sql, SCHEMA, self.now_us())

    def now_us(self) -> int:
        """The time."""
        return self.world.clock.wall_us()

    async def read(self, who: Who, work: Callable[[Tx], T]) -> T:
        """A transaction that changes nothing."""
        now_us = self.now_us()
        return await self.sql.read(lambda connection: work(self._tx(connection, who, now_us)))

    async def write(self, who: Who, work: Callable[[Tx], T]) -> T:
        """A transaction; where it changed what hosts are told, the revision of that grows with it.

        Raises 409 when others were in the way too often.
        """
        now_us = self.now_us()

        def inner(connection: Connection) -> T:
            tx = self._tx(connection, who, now_us)
            found = work(tx)
            if tx.told:
                records.count_up(connection, records.REVISION)
            return found

        for _ in range(ATTEMPTS):
            try:
                async with self._one_at_a_time:
                    return await self.sql.write(inner)
            except IntegrityError:
                continue  # PostgreSQL says so of keys that two transactions wrote at once: look again
        raise NetworkRefused(409, "Conflict", "Others change the same things at this moment; try again.")

    def _tx(self, connection: Connection, who: Who, now_us: int) -> Tx:
        return Tx(connection, who, now_us, self.world.rng, self.settings)
