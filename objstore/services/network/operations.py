"""What is the same for all resources of the API: how one is shown, and what a resource brings along for the calls on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, false, true

from objstore.services.network.kinds import Kind
from objstore.services.network.records import Row, Tx, Who, rows, tags_of
from objstore.services.network.rights import EVERYBODY, SHARED
from objstore.services.network.tables import RBAC

View = dict[str, Any]
Filter = Callable[[Who, Sequence[str]], ColumnElement[bool]]


@dataclass(frozen=True)
class Operations:
    """A resource: its kind and what its calls do inside a transaction."""

    kind: Kind
    create: Callable[[Tx, Row], Row]
    update: Callable[[Tx, Row, Row], None]  # of a row that the caller may change
    remove: Callable[[Tx, Row], None]
    views: Callable[[Tx, Sequence[Row]], list[View]]
    seen: Callable[[Who], ColumnElement[bool]]
    filters: Mapping[str, Filter] = field(default_factory=dict)  # those that are no column
    needs_default_group: bool = False  # lists begin with the project's default security group


def time_text(us: int) -> str:
    """2026-11-23T01:02:03Z."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain_views(tx: Tx, kind: Kind, found: Sequence[Row]) -> list[View]:
    """Resources as their attributes and what all resources have."""
    tags = tags_of(tx, [row["id"] for row in found]) if kind.tagged else {}
    views: list[View] = []
    for row in found:
        view: View = {"id": row["id"], "tenant_id": row["project"]}
        for attribute in kind.attributes:
            if attribute.kept in row and (tx.who.admin or not attribute.hidden):
                view[attribute.name] = row[attribute.kept]
        view |= {"created_at": time_text(row["created_us"]), "updated_at": time_text(row["updated_us"]), "revision_number": row["revision"]}
        if kind.tagged:
            view["tags"] = tags[row["id"]]
        views.append(view)
    return views


def shared_ones(tx: Tx, ids: Sequence[str]) -> set[str]:
    """Those of some things that are shared with the caller."""
    found: set[str] = set()
    for start in range(0, len(ids), 500):
        policies = rows(
            tx,
            RBAC,
            RBAC.c.object_id.in_(ids[start : start + 500]),
            RBAC.c.action == SHARED,
            RBAC.c.target.in_((EVERYBODY, tx.who.project)),
        )
        found |= {policy["object_id"] for policy in policies}
    return found


def shared_filter(column: Any) -> Filter:
    """The filter `shared`."""

    def condition(who: Who, values: Sequence[str]) -> ColumnElement[bool]:
        shared = exists().where(RBAC.c.object_id == column, RBAC.c.action == SHARED, RBAC.c.target.in_((EVERYBODY, who.project)))
        return shared if values[-1].lower() in ("true", "1") else ~shared

    return condition


def constant_filter(value: str) -> Filter:
    """A filter on what all of a resource have."""
    return lambda _, values: true() if value in values else false()
