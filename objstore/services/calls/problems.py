"""Refusals of the services' APIs by HTTP status."""

from http import HTTPStatus
from typing import Any

from objstore.errors import Refused

Headers = list[tuple[bytes, bytes]]


class CallRefused(Refused):
    """A refusal by its HTTP status; `document` is its own, where the one that the service makes of the status does not say enough."""

    def __init__(self, status: int, message: str, headers: Headers | None = None, document: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or []
        self.document = document


def bad_request(message: str) -> CallRefused:
    """400: the request says something that cannot be."""
    return CallRefused(400, message)


def unauthorized() -> CallRefused:
    """401: nobody known calls."""
    return CallRefused(401, "The request you have made requires authentication.")


def forbidden(message: str = "You are not authorized to complete this action.") -> CallRefused:
    """403: the caller may not."""
    return CallRefused(403, message)


def not_found(message: str = "The resource could not be found.") -> CallRefused:
    """404: there is no such thing, or none that the caller may know of."""
    return CallRefused(404, message)


def conflict(message: str) -> CallRefused:
    """409: not in the state that the thing is in."""
    return CallRefused(409, message)


def too_large(message: str) -> CallRefused:
    """413: more than a limit or a quota allows."""
    return CallRefused(413, message)


def title(status: int) -> str:
    """The words that belong to a status."""
    return HTTPStatus(status).phrase
