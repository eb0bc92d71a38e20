"""Refusals in Neutron's form: a status and a document with the name of what is wrong, which clients compare."""

from typing import Any

from objstore.services.calls.problems import CallRefused

_TYPES = {
    400: "HTTPBadRequest",
    401: "HTTPUnauthorized",
    403: "HTTPForbidden",
    404: "HTTPNotFound",
    405: "HTTPMethodNotAllowed",
    409: "Conflict",
}
SHOWN_CHARS = 128


class NetworkRefused(CallRefused):
    """A refusal with the name that Neutron gives it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(status, message, document=document(kind, message))
        self.kind = kind


def document(kind: str, message: str) -> dict[str, Any]:
    """The document of a refusal."""
    return {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def refusal(status: int, message: str) -> dict[str, Any]:
    """The document of a refusal that has no name of its own."""
    return document(_TYPES.get(status, "HTTPInternalServerError" if status >= 500 else "HTTPClientError"), message)


def shown(value: object) -> str:
    """A value as messages show it: not longer than is of use."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def invalid(message: str) -> NetworkRefused:
    """400 InvalidInput."""
    return NetworkRefused(400, "InvalidInput", f"Invalid input for operation: {message}.")


def bad(message: str) -> NetworkRefused:
    """400 HTTPBadRequest: what the body's form forbids."""
    return NetworkRefused(400, "HTTPBadRequest", message)


def denied(message: str = "The resource could not be changed: policy does not allow it.") -> NetworkRefused:
    """403 PolicyNotAuthorized."""
    return NetworkRefused(403, "PolicyNotAuthorized", message)


def over_quota(resource: str) -> NetworkRefused:
    """409 OverQuota."""
    return NetworkRefused(409, "OverQuota", f"Quota exceeded for resources: ['{resource}'].")
