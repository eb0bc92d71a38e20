"""The schema in numbered steps, for each service its own; a database remembers which it has taken.

A step is SQL that both databases understand (TEXT, BIGINT, BOOLEAN, no server-side defaults that differ); it is never edited once
released: a change of the schema is the next step.  All missing steps of a service run in one transaction, under a lock, so processes
that start together do not disturb one another.  A database that is ahead of this program is left alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from objstore.errors import ObjstoreError
from objstore.runtime.sql import IntegrityError, Sql

RIVALS = 10
# A table or a type of that name is there: who waited for the lock still sees the tables as they were before.
_MADE_BY_OTHERS = ("42P07", "42701", "42710", "23505")
_LOCK = 6_071_815_114  # of PostgreSQL, any number that nobody else uses


class SchemaAhead(ObjstoreError):
    """The database was written by a newer release; run that one."""


@dataclass(frozen=True)
class Schema:
    """The steps of one service, the first first."""

    service: str
    steps: Sequence[Sequence[str]]


async def migrate(sql: Sql, schema: Schema, now_us: int) -> int:
    """Bring a service's tables up to date; how many steps were taken.  Raises SchemaAhead."""

    def work(connection: Connection) -> int:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS schema_steps (service TEXT NOT NULL, step BIGINT NOT NULL, taken_us BIGINT NOT NULL, PRIMARY KEY (service, step))"
            )
        )
        query = text("SELECT coalesce(max(step), 0) FROM schema_steps WHERE service = :service")
        have = int(connection.execute(query, {"service": schema.service}).scalar_one())
        if have > len(schema.steps):
            raise SchemaAhead(
                f"the tables of {schema.service} are at step {have}, this release knows {len(schema.steps)}; run the newer release"
            )
        for number, statements in enumerate(schema.steps[have:], have + 1):
            for statement in statements:
                connection.execute(text(statement))
            connection.execute(
                text("INSERT INTO schema_steps (service, step, taken_us) VALUES (:service, :step, :now)"),
                {"service": schema.service, "step": number, "now": now_us},
            )
        return len(schema.steps) - have

    for _ in range(RIVALS):
        try:
            return await sql.write(work)
        except (ProgrammingError, IntegrityError) as failure:
            if getattr(failure.orig, "sqlstate", "") not in _MADE_BY_OTHERS:
                raise
    return await sql.write(work)
