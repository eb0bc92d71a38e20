"""Tasks: what became of imports, as it is told to those who asked for them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.paging import limit_of, link, query_without, sort_of
from objstore.services.calls.problems import bad_request, not_found, too_large
from objstore.services.image.rights import check_change
from objstore.services.image.service import ImageService, Row
from objstore.services.image.settings import ImageSettings
from objstore.services.image.tables import TASKS
from objstore.services.image.views import task_view

IMPORT = "api_image_import"
PENDING, PROCESSING, SUCCESS, FAILURE = "pending", "processing", "success", "failure"
SORT_KEYS = ("created_at", "updated_at", "status", "type", "id", "owner", "expires_at")
_COLUMNS = {
    "created_at": TASKS.c.created_us, "updated_at": TASKS.c.updated_us, "status": TASKS.c.status, "type": TASKS.c.type, "id": TASKS.c.id,
    "owner": TASKS.c.owner, "expires_at": TASKS.c.expires_us,
}  # fmt: skip
DAY_US = 86_400_000_000


def add_task(
    connection: Connection, settings: ImageSettings, id_: str, call: Call, image: str, owner: str, document: Mapping[str, Any], *, now_us: int
) -> None:  # fmt: skip
    """Tell of an import that is to be.  Raises 413."""
    connection.execute(delete(TASKS).where(TASKS.c.expires_us < now_us))
    life_us = int(settings.task_days * DAY_US)
    for whose, mine, most in (
        ("The image", TASKS.c.image == image, settings.quota_image_tasks),
        ("The project", TASKS.c.owner == owner, settings.quota_tasks),
    ):
        if 0 < most <= connection.execute(select(func.count()).where(mine)).scalar_one():
            raise too_large(
                f"{whose} may have {most} tasks of imports, and each is kept for {settings.task_days:g} days: "
                "wait until the oldest are forgotten, or upload the bytes without an import."
            )
    connection.execute(
        insert(TASKS).values(
            id=id_, type=IMPORT, status=PENDING, owner=owner, user_id=call.who.user.id, image=image, request_id=call.request_id,
            input=msgspec.json.encode(document).decode(), result="null", message="", created_us=now_us, updated_us=now_us,
            expires_us=now_us + life_us,
        )
    )  # fmt: skip


def set_task(connection: Connection, id_: str, status: str, *, now_us: int, message: str = "", result: Any = None) -> None:
    """Tell how it stands."""
    connection.execute(
        update(TASKS).where(TASKS.c.id == id_).values(
            status=status, message=message, result=msgspec.json.encode(result).decode(), updated_us=now_us
        )
    )  # fmt: skip


def is_over(connection: Connection, id_: str) -> bool:
    """Whether it was told how it ended."""
    return connection.execute(select(TASKS.c.status).where(TASKS.c.id == id_)).scalar_one_or_none() in (SUCCESS, FAILURE)


class TaskCalls:
    """The handlers."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {
            ("GET", "/v2/tasks"): self.list_tasks,
            ("GET", "/v2/tasks/{task_id}"): self.show,
            ("GET", "/v2/images/{image_id}/tasks"): self.of_image,
        }

    async def list_tasks(self, call: Call) -> Answer:
        """All tasks, for the administrator."""
        call.check_admin()
        limit = limit_of(call, default=25, most=self._service.settings.page_limit)
        key, direction = sort_of(call, SORT_KEYS, default=(("created_at", "desc"),))[0]
        marker = call.first("marker")
        conditions = [TASKS.c[name] == value for name, value in call.query if name in ("status", "type", "owner")]

        def work(connection: Connection) -> list[Row]:
            order = (_COLUMNS[key].asc(), TASKS.c.id.asc()) if direction == "asc" else (_COLUMNS[key].desc(), TASKS.c.id.desc())
            rows = list(connection.execute(select(TASKS).where(*conditions).order_by(*order)).all())
            if marker is None:
                return rows
            at = next((number for number, row in enumerate(rows) if row.id == marker), None)
            if at is None:
                raise bad_request("The marker is no task of the list.")
            return rows[at + 1 :]

        rows = await self._service.read(work)
        first = query_without(call, "marker")
        body = {
            "tasks": [task_view(row, whole=False) for row in rows[:limit]], "first": link("/v2/tasks", first), "schema": "/v2/schemas/tasks",
        }  # fmt: skip
        if len(rows) > limit > 0:
            body["next"] = link("/v2/tasks", [*first, ("marker", rows[limit - 1].id)])
        return Answer(body=body)

    async def show(self, call: Call) -> Answer:
        """One task, for the administrator."""
        call.check_admin()
        query = select(TASKS).where(TASKS.c.id == call.parameters["task_id"])
        row = await self._service.read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            raise not_found(f"No task found with ID {call.parameters['task_id'][:64]}")
        return Answer(body=task_view(row))

    async def of_image(self, call: Call) -> Answer:
        """The tasks of an image, for those who may change it."""
        image = await self._service.image(call)
        check_change(call, image)
        query = select(TASKS).where(TASKS.c.image == image.id).order_by(TASKS.c.created_us, TASKS.c.id)
        rows = await self._service.read(lambda connection: connection.execute(query).all())
        return Answer(body={"tasks": [task_view(row) for row in rows]})
