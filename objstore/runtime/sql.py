"""Relational state: the only door to SQL databases.  SQLite by default, PostgreSQL by its URL; everything above is the same on both.

A transaction is a plain function that is given a connection: nothing can be awaited in it, so no transaction is ever held over a
wait.  It may run again from the start when others changed the same rows (PostgreSQL says so after the fact), so it must do nothing
but SQL; what it draws at random or reads from a clock is handed to it.  All transactions are serializable: SQLite has one writer at
a time, PostgreSQL is told to behave as if it had.

SQLite: a file in WAL mode, flushed at each commit; a thread for the writer, some for readers, which see the last commit.
`sqlite://` without a path is a database in memory, for tests.  PostgreSQL: `postgresql://user:password@host/name`, by asyncpg.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from objstore.errors import Unavailable
from objstore.runtime.log import hide
from objstore.runtime.tasks import Threads
from objstore.runtime.world import World

T = TypeVar("T")
Work = Callable[[Connection], T]
log = logging.getLogger(__name__)

READERS = 2  # threads that read; a query takes far less than a request's other work
BUSY_MS = 15_000  # how long SQLite waits for another process's transaction
ATTEMPTS = 12  # of a transaction that others get in the way of
BACK_OFF_S = 0.01
MEMORY = "sqlite://"
_AGAIN = ("40001", "40P01", "25P02")  # serialization failure, deadlock, aborted because of either
_SQLITE_OUTAGES = (5, 6, 8, 10, 13, 14)  # busy, locked, read-only, input/output error, full, cannot open; the rest are bugs
SYNCHRONOUS = "FULL"  # an answered change outlives a power cut


class DatabaseUnavailable(Unavailable):
    """The services' database cannot be reached, or is too busy; try again."""


class Sql(Protocol):
    """A database."""

    async def read(self, work: Work[T]) -> T:
        """Run a transaction that changes nothing.  Raises DatabaseUnavailable."""

    async def write(self, work: Work[T]) -> T:
        """Run a transaction; it is durable when this returns, and nothing of it is there when `work` raised.  Raises
        DatabaseUnavailable, and sqlalchemy's IntegrityError where a constraint is broken."""

    async def aclose(self) -> None:
        """Close all connections."""


def open_sql(url: str, world: World) -> Sql:
    """A database by its URL; nothing is connected before it is used.  Raises ValueError."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return SqliteSql(url, world)
    if scheme in ("postgresql", "postgres"):
        return PostgresSql(url, world)
    raise ValueError("database.url must begin with sqlite:// or postgresql://")


class SqliteSql:
    """SQLite through threads."""

    def __init__(self, url: str, world: World) -> None:
        memory = url.rstrip("/") == MEMORY.rstrip("/")
        self._writer: Threads = world.new_threads("sql-write", 1)
        # A database in memory is one connection, so its readers are the writer.
        self._readers: Threads = self._writer if memory else world.new_threads("sql-read", READERS)
        self._engine = _sqlite_engine(MEMORY if memory else url, memory=memory, begin="BEGIN IMMEDIATE")
        self._reading = self._engine if memory else _sqlite_engine(url, memory=False, begin="BEGIN")
        self._memory = memory

    async def read(self, work: Work[T]) -> T:
        """Run a transaction that changes nothing."""
        return await self._readers.run(_in_transaction, self._reading, work)

    async def write(self, work: Work[T]) -> T:
        """Run a transaction."""
        return await self._writer.run(_in_transaction, self._engine, work)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._writer.run(self._engine.dispose)
        if not self._memory:
            await self._readers.run(self._reading.dispose)
            self._readers.close()
        self._writer.close()


def _sqlite_engine(url: str, *, memory: bool, begin: str) -> Engine:
    pool: dict[str, Any] = {"poolclass": StaticPool} if memory else {"pool_size": READERS, "max_overflow": 0}
    engine = sqlalchemy.create_engine(url, connect_args={"check_same_thread": False}, **pool)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own notion of transactions would begin them late
        for pragma in ("foreign_keys = ON", f"busy_timeout = {BUSY_MS}", "journal_mode = WAL", f"synchronous = {SYNCHRONOUS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _in_transaction(engine: Engine, work: Work[T]) -> T:
    try:
        with engine.begin() as connection:
            return work(connection)
    except OperationalError as failure:
        if getattr(failure.orig, "sqlite_errorcode", 0) & 0xFF in _SQLITE_OUTAGES:
            raise _unavailable(failure) from failure
        raise


class PostgresSql:
    """PostgreSQL through asyncpg."""

    def __init__(self, url: str, world: World, *, connections: int = 8) -> None:
        parts = urlsplit(url)
        for secret in {parts.password or "", unquote(parts.password or "")} - {""}:
            hide(secret)
        address = sqlalchemy.make_url(url).set(drivername="postgresql+asyncpg")
        self._clock = world.clock
        self._rng = world.rng
        self._engine: AsyncEngine = create_async_engine(
            address, isolation_level="SERIALIZABLE", pool_size=connections, max_overflow=0, pool_pre_ping=True
        )

    async def read(self, work: Work[T]) -> T:
        """Run a transaction that changes nothing."""
        return await self.write(work)

    async def write(self, work: Work[T]) -> T:
        """Run a transaction, again when another one got in its way."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(work)
            except (SQLAlchemyError, OSError) as failure:
                conflict = _is_conflict(failure)
                if _is_outage(failure) or (conflict and attempt == ATTEMPTS):
                    raise _unavailable(failure) from failure
                if not conflict:
                    raise
            await self._clock.sleep(self._rng.uniform(0, BACK_OFF_S * attempt))
        raise AssertionError("unreachable")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def _is_conflict(failure: BaseException) -> bool:
    return isinstance(failure, DBAPIError) and str(getattr(failure.orig, "sqlstate", "")) in _AGAIN


def _is_outage(failure: BaseException) -> bool:
    """Connections that broke, a server that starts or stops: classes 08, 53, 57 of SQLSTATE."""
    if isinstance(failure, OSError):
        return True
    state = str(getattr(getattr(failure, "orig", None), "sqlstate", "") or "")
    return (
        state[:2] in ("08", "53", "57") or bool(getattr(failure, "connection_invalidated", False)) or isinstance(failure, OperationalError)
    )


def _unavailable(failure: BaseException) -> DatabaseUnavailable:
    log.warning("the services' database: %s", type(getattr(failure, "orig", failure)).__name__)
    return DatabaseUnavailable("The services' database cannot be reached now; try again.")


__all__ = ["MEMORY", "DatabaseUnavailable", "IntegrityError", "Sql", "Work", "open_sql"]
