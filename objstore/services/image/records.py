"""Images as they are kept: reading and changing rows inside a transaction.  Nothing here waits, draws at random or reads a clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from objstore.services.image.tables import BODIES, IMAGES, MEMBERS, PROPERTIES, TAGS

QUEUED, SAVING, UPLOADING, IMPORTING, ACTIVE, DEACTIVATED, KILLED, DELETED = (
    "queued", "saving", "uploading", "importing", "active", "deactivated", "killed", "deleted",
)  # fmt: skip
STATUSES = (QUEUED, SAVING, UPLOADING, IMPORTING, ACTIVE, DEACTIVATED, KILLED, DELETED)
COMING, WHOLE, GOING = "coming", "whole", "going"
PRIVATE, SHARED, COMMUNITY, PUBLIC = "private", "shared", "community", "public"
VISIBILITIES = (PRIVATE, SHARED, COMMUNITY, PUBLIC)


@dataclass(frozen=True)
class Image:
    """An image with what belongs to it."""

    id: str
    owner: str
    status: str
    visibility: str
    created_us: int
    updated_us: int
    name: str | None = None
    container_format: str | None = None
    disk_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    os_hidden: bool = False
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    body: str | None = None
    staged: str | None = None
    operation: str = ""
    operation_until_us: int = 0
    deleted_us: int | None = None
    properties: Mapping[str, str | None] = field(default_factory=dict)
    tags: Sequence[str] = ()


def images_of(connection: Connection, rows: Iterable[Any]) -> list[Image]:
    """Images of rows of the table, with their properties and tags."""
    found = [dict(row._mapping) for row in rows]
    ids = [row["id"] for row in found]
    properties: dict[str, dict[str, str | None]] = {id_: {} for id_ in ids}
    tags: dict[str, list[str]] = {id_: [] for id_ in ids}
    for row in connection.execute(select(PROPERTIES).where(PROPERTIES.c.image.in_(ids)).order_by(PROPERTIES.c.name)):
        properties[row.image][row.name] = row.value
    for row in connection.execute(select(TAGS).where(TAGS.c.image.in_(ids)).order_by(TAGS.c.tag)):
        tags[row.image].append(row.tag)
    return [Image(**row, properties=properties[row["id"]], tags=tags[row["id"]]) for row in found]


def find_image(connection: Connection, id_: str) -> Image | None:
    """An image that is not deleted."""
    rows = connection.execute(select(IMAGES).where(and_(IMAGES.c.id == id_, IMAGES.c.status != DELETED))).all()
    return images_of(connection, rows)[0] if rows else None


def member_status(connection: Connection, image: str, member: str) -> str | None:
    """What a project said to an image that was shared with it; None where it was not."""
    query = select(MEMBERS.c.status).where(and_(MEMBERS.c.image == image, MEMBERS.c.member == member))
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def add_image(connection: Connection, image: Image) -> None:
    """Write a new image.  Raises IntegrityError when the id was ever used."""
    row = {column.name: getattr(image, column.name) for column in IMAGES.c}
    connection.execute(insert(IMAGES).values(**row))
    set_properties(connection, image.id, image.properties)
    set_tags(connection, image.id, image.tags)


def set_properties(connection: Connection, id_: str, properties: Mapping[str, str | None]) -> None:
    """Replace all properties."""
    connection.execute(delete(PROPERTIES).where(PROPERTIES.c.image == id_))
    if properties:
        connection.execute(insert(PROPERTIES), [{"image": id_, "name": name, "value": value} for name, value in properties.items()])


def set_tags(connection: Connection, id_: str, tags: Iterable[str]) -> None:
    """Replace all tags."""
    connection.execute(delete(TAGS).where(TAGS.c.image == id_))
    unique = list(dict.fromkeys(tags))
    if unique:
        connection.execute(insert(TAGS), [{"image": id_, "tag": tag} for tag in unique])


def change(connection: Connection, id_: str, *, status: Sequence[str], operation: str | None = None, **values: Any) -> bool:
    """Compare and set: change an image that has one of these states (and this upload at work, where given); whether it had.

    New values of what is compared are `status_` and `operation_`.
    """
    conditions = [IMAGES.c.id == id_, IMAGES.c.status.in_(status)]
    if operation is not None:
        conditions.append(IMAGES.c.operation == operation)
    values = {name.rstrip("_"): value for name, value in values.items()}
    return connection.execute(update(IMAGES).where(and_(*conditions)).values(**values)).rowcount > 0


# -- bodies -------------------------------------------------------------------------------------------------------


def new_body(connection: Connection, id_: str, project: str, *, size: int, until_us: int, now_us: int) -> None:
    """A body that begins to come."""
    connection.execute(
        insert(BODIES).values(
            id=id_, status=COMING, project=project, size=size, checksum="", sha512="", format="", virtual_size=None, until_us=until_us,
            created_us=now_us,
        )
    )  # fmt: skip


def body_like(connection: Connection, sha512: str, size: int, *, but: str) -> str | None:
    """Another body of the same bytes."""
    query = select(BODIES.c.id).where(and_(BODIES.c.sha512 == sha512, BODIES.c.size == size, BODIES.c.status == WHOLE, BODIES.c.id != but))
    found: str | None = connection.execute(query.order_by(BODIES.c.created_us).limit(1)).scalar_one_or_none()
    return found


def body_of(connection: Connection, id_: str) -> Any:
    """A body's row; None when there is none."""
    return connection.execute(select(BODIES).where(BODIES.c.id == id_)).one_or_none()


def release(connection: Connection, id_: str | None) -> bool:
    """An image no longer names this body: whether nothing does now, so that it is to be removed."""
    if id_ is None:
        return False
    named = and_(IMAGES.c.status != DELETED, (IMAGES.c.body == id_) | (IMAGES.c.staged == id_))
    if connection.execute(select(IMAGES.c.id).where(named).limit(1)).first() is not None:
        return False
    connection.execute(update(BODIES).where(BODIES.c.id == id_).values(status=GOING))
    return True


def forget_body(connection: Connection, id_: str) -> None:
    """Its object is gone."""
    connection.execute(delete(BODIES).where(BODIES.c.id == id_))


# -- what a project has -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """What counts for quotas: images, their bytes, bytes that are staged, uploads that run and what they announced."""

    images: int
    size_bytes: int
    staged_bytes: int
    uploading: int
    coming_bytes: int

    @property
    def total_bytes(self) -> int:
        """All that takes room."""
        return self.size_bytes + self.staged_bytes + self.coming_bytes


def usage_of(connection: Connection, project: str) -> Usage:
    """What a project has."""
    mine = and_(IMAGES.c.owner == project, IMAGES.c.status != DELETED)
    count, size = connection.execute(select(func.count(), func.coalesce(func.sum(IMAGES.c.size), 0)).where(mine)).one()
    staged = connection.execute(
        select(func.coalesce(func.sum(BODIES.c.size), 0)).where(BODIES.c.id.in_(select(IMAGES.c.staged).where(mine)))
    ).scalar_one()
    uploading, coming = connection.execute(
        select(func.count(), func.coalesce(func.sum(BODIES.c.size), 0)).where(and_(BODIES.c.project == project, BODIES.c.status == COMING))
    ).one()
    return Usage(int(count), int(size), int(staged), int(uploading), int(coming))
