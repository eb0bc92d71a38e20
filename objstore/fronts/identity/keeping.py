"""Making, changing and removing what the service keeps, with the answers that clients expect when that cannot be."""

from collections.abc import Callable
from typing import TypeVar

from objstore.errors import ConditionalConflict, PreconditionFailed
from objstore.fronts.identity.call import Call
from objstore.fronts.identity.errors import IdentityProblem, duplicate, forbidden, not_found
from objstore.identity.tenancy import AccessRule, AppCredential, Credential, Kept

T = TypeVar("T", bound=Kept)


async def store(call: Call, kind: str, value: T) -> T:
    """Keep something new.  Raises 409 when its name is taken."""
    try:
        await call.registry.create(value)
    except (PreconditionFailed, ConditionalConflict):
        raise duplicate(kind, value.name or value.id) from None
    return value


async def alter(call: Call, kind: str, value: T, edit: Callable[[T], T]) -> T:
    """Change something.  Raises 404 when it went, 409 when the new name is taken, 403 when it may not be renamed."""

    def checked(found: T) -> T:
        changed = edit(found)
        if found.fixed and changed.record != found.record:
            raise IdentityProblem(403, f"The {kind} {found.name} comes with the cluster's configuration; its name cannot be changed here.")
        return changed

    try:
        return await call.registry.change(value, checked)
    except PreconditionFailed:
        await call.registry.feed.catch_up()
        if call.registry.get(type(value), value.id) is not None and edit(value).record != value.record:
            raise duplicate(kind, edit(value).name) from None
        raise not_found(kind, value.id) from None


async def remove(call: Call, kind: str, value: Kept) -> None:
    """Remove something.  Raises 404 when another was faster, 403 when it comes with the configuration."""
    if value.fixed:
        raise IdentityProblem(
            403, f"The {kind} {value.name or value.id} comes with the cluster's configuration; it can be disabled, not deleted."
        )
    if not await call.registry.delete(value):
        raise not_found(kind, value.id)


async def sweep(call: Call, fits: Callable[[Credential | AppCredential | AccessRule], bool]) -> None:
    """Remove the secrets of somebody or something that is gone.  They mean nothing any more; this is for tidiness."""
    for kind in (Credential, AppCredential, AccessRule):
        for secret in call.registry.all(kind):
            if isinstance(secret, Credential | AppCredential | AccessRule) and fits(secret):
                await call.registry.delete(secret)


def check_not_above(call: Call, actors: list[str]) -> None:
    """That whoever is no administrator has no hand on one, nor on whom roles beyond his domain were given: a new password, or a place in
    a group, would be a way up.  Raises 403."""
    if not call.who.is_admin:
        call.check(right=not call.registry.acts_everywhere(actors))


def check_may_make(call: Call) -> str:
    """That the caller's own credential lets it make secrets; the id of its application credential, or "".  Raises 403."""
    who = call.who
    if who.bearer.credential_id or who.trust is not None:
        raise forbidden(f"identity:{call.action}")  # a key of S3, or a trust, must not make keys that outlive it
    credential = who.app_credential
    if credential is None:
        return ""
    if not credential.unrestricted or credential.limited:
        raise forbidden(f"identity:{call.action}")
    return credential.id
