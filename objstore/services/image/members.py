"""Calls on members: projects that a shared image is shown to, and what they say to it."""

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, conflict, forbidden, not_found, too_large
from objstore.services.image.records import SHARED, Image
from objstore.services.image.rights import check_change, owns
from objstore.services.image.service import ImageService, Row, seen_image
from objstore.services.image.tables import MEMBERS
from objstore.services.image.views import member_view

STATUSES = ("pending", "accepted", "rejected")
MAX_MEMBER_CHARS = 255


class MemberCalls:
    """The handlers."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2/images/{image_id}/members"
        one = many + "/{member_id}"
        return {
            ("GET", many): self.list_members, ("POST", many): self.create, ("GET", one): self.show, ("PUT", one): self.update,
            ("DELETE", one): self.remove,
        }  # fmt: skip

    async def list_members(self, call: Call) -> Answer:
        """All of them for the owner; a member sees himself."""
        image = await self._service.image(call)
        if image.visibility != SHARED:
            raise forbidden("Only shared images have members.")
        query = select(MEMBERS).where(MEMBERS.c.image == image.id).order_by(MEMBERS.c.created_us, MEMBERS.c.member)
        if not owns(call, image):
            query = query.where(MEMBERS.c.member == call.project)
        rows = await self._service.read(lambda connection: connection.execute(query).all())
        return Answer(body={"members": [member_view(row) for row in rows], "schema": "/v2/schemas/members"})

    async def create(self, call: Call) -> Answer:
        """Share the image with a project."""
        service, most = self._service, self._service.settings.quota_members
        call.check_read()
        member = (await call.document()).get("member")
        if not isinstance(member, str) or not 0 < len(member) <= MAX_MEMBER_CHARS or "\0" in member:
            raise bad_request(f"Member to be added not specified: it is the id of a project, of at most {MAX_MEMBER_CHARS} characters.")
        now_us = service.now_us()

        def work(connection: Connection) -> Row:
            image = _shared(connection, call)
            check_change(call, image)
            mine = MEMBERS.c.image == image.id
            if _find(connection, image.id, member) is not None:
                raise conflict(f"Member {member} is duplicated for image {image.id}")
            if 0 < most <= connection.execute(select(func.count()).where(mine)).scalar_one():
                raise too_large(f"The limit has been exceeded on the number of allowed image members for this image. Maximum: {most}")
            row = {"image": image.id, "member": member, "status": "pending", "created_us": now_us, "updated_us": now_us}
            connection.execute(insert(MEMBERS).values(**row))
            return _find(connection, image.id, member)

        return Answer(body=member_view(await service.write(work)))

    async def show(self, call: Call) -> Answer:
        """One member, for the owner and for himself."""
        image = await self._service.image(call)
        member = call.parameters["member_id"]
        row = await self._service.read(lambda connection: _find(connection, image.id, member))
        if row is None or not (owns(call, image) or call.project == member):
            raise _unknown(member)
        return Answer(body=member_view(row))

    async def update(self, call: Call) -> Answer:
        """What the member says; nobody says it for him."""
        service = self._service
        call.check_read()
        status = (await call.document()).get("status")
        if status not in STATUSES:
            raise bad_request(f"Status not specified, or not one of {', '.join(STATUSES)}.")
        member, now_us = call.parameters["member_id"], service.now_us()

        def work(connection: Connection) -> Row:
            image = _shared(connection, call)
            found = _find(connection, image.id, member)
            if found is None or not (owns(call, image) or call.project == member):
                raise _unknown(member)
            if call.project != member and not call.is_admin:
                raise forbidden(f"Not allowed to update member '{member}' of the image: that is the member's.")
            call.check_write()
            chosen = and_(MEMBERS.c.image == image.id, MEMBERS.c.member == member)
            connection.execute(update(MEMBERS).where(chosen).values(status=status, updated_us=now_us))
            return _find(connection, image.id, member)

        return Answer(body=member_view(await service.write(work)))

    async def remove(self, call: Call) -> Answer:
        """Share it no longer."""
        call.check_read()
        member = call.parameters["member_id"]

        def work(connection: Connection) -> None:
            image = _shared(connection, call)
            check_change(call, image)
            if not connection.execute(delete(MEMBERS).where(and_(MEMBERS.c.image == image.id, MEMBERS.c.member == member))).rowcount:
                raise _unknown(member)

        await self._service.write(work)
        return Answer(204)


def _shared(connection: Connection, call: Call) -> Image:
    image = seen_image(connection, call, call.parameters["image_id"])
    if image.visibility != SHARED:
        raise forbidden("Only shared images have members.")
    return image


def _find(connection: Connection, image: str, member: str) -> Row:
    return connection.execute(select(MEMBERS).where(and_(MEMBERS.c.image == image, MEMBERS.c.member == member))).one_or_none()


def _unknown(member: str) -> Exception:
    return not_found(f"{member[:64]} not found in the member list of the image.")
