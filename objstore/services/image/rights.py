"""Who may see and change an image; pure.

Whoever may not see an image is told that there is none.  Members of the owning project change it, readers of it look; the cloud's
administrator does both everywhere.  Making an image public is the administrator's alone, since it is offered to everybody.
"""

from objstore.services.calls.call import Call
from objstore.services.calls.problems import forbidden, not_found
from objstore.services.image.records import COMMUNITY, PUBLIC, SHARED, Image


def may_see(call: Call, image: Image, member: str | None) -> bool:
    """`member`: what the caller's project said to the image, None where it was not shared with it."""
    return call.is_admin or may_use(call.project, image, member)


def may_use(project: str, image: Image, member: str | None) -> bool:
    """The same for a project, whoever asks in its name."""
    if (project and project == image.owner) or image.visibility in (PUBLIC, COMMUNITY):
        return True
    return image.visibility == SHARED and member is not None


def owns(call: Call, image: Image) -> bool:
    """Whether it is the caller's project's, or he is the administrator."""
    return call.is_admin or (bool(call.project) and call.project == image.owner)


def check_change(call: Call, image: Image) -> None:
    """Raises 403 for an image that the caller sees and may not change."""
    if not owns(call, image):
        raise forbidden(f"You are not permitted to change the image {image.id}.")
    call.check_write()


def check_visibility(call: Call, visibility: str) -> None:
    """Raises 403 where the caller may not give an image this visibility."""
    if visibility == PUBLIC and not call.is_admin:
        raise forbidden("You are not authorized to complete publicize_image action.")


def unknown(id_: str) -> Exception:
    """404 in the words that clients know."""
    return not_found(f"No image found with ID {id_[:255]}")
