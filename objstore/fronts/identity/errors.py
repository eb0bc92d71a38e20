"""Refusals of the identity service, with the words that its clients show."""

from http import HTTPStatus
from typing import Any

import msgspec

from objstore.errors import Refused

Headers = list[tuple[bytes, bytes]]

UNAUTHORIZED = "The request you have made requires authentication."


class IdentityProblem(Refused):
    """A refusal by its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def unauthorized(message: str = UNAUTHORIZED) -> IdentityProblem:
    """Nobody known calls.  It says no more than that, so that names cannot be found out."""
    return IdentityProblem(401, message)


def forbidden(action: str) -> IdentityProblem:
    """The caller may not."""
    return IdentityProblem(403, f"You are not authorized to perform the requested action: {action}.")


def not_found(kind: str, id_: str) -> IdentityProblem:
    """There is no such thing."""
    return IdentityProblem(404, f"Could not find {kind}: {id_[:255]}.")


def duplicate(kind: str, name: str) -> IdentityProblem:
    """The name is taken."""
    return IdentityProblem(409, f"Conflict occurred attempting to store {kind} - Duplicate entry found with name {name[:255]}.")


def invalid(field: str, why: str) -> IdentityProblem:
    """A field of the request is wrong."""
    return IdentityProblem(400, f"Invalid input for field '{field}': {why}")


def document(status: int, message: str) -> bytes:
    """An error as clients read it."""
    body: dict[str, Any] = {"error": {"code": status, "message": message, "title": HTTPStatus(status).phrase}}
    return msgspec.json.encode(body)
