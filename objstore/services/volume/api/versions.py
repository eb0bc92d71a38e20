"""Versions: which there are, and which microversion a call is answered in."""

from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Range, shown
from objstore.services.calls.problems import CallRefused, bad_request, not_found

MICROVERSIONS = Range("volume", (3, 0), (3, 71))
_MEDIA = [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}]


def routes() -> dict[tuple[str, str], Handler]:
    """(method, template) -> handler; they need no token."""
    return {("GET", "/"): _all, ("GET", "/v3"): _one}


def _document(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.0", "status": "CURRENT", "version": shown(MICROVERSIONS.highest), "min_version": shown(MICROVERSIONS.lowest),
        "updated": "2026-11-23T00:00:00Z", "media-types": _MEDIA,
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{call.base_url}/v3/"},
        ],
    }  # fmt: skip


async def _all(call: Call) -> Answer:
    return Answer(300, {"versions": [_document(call)]})


async def _one(call: Call) -> Answer:
    return Answer(200, {"versions": [_document(call)]})


async def before(call: Call) -> None:
    """Which version a call is answered in, and whether its path names the caller's own project.  Raises 400, 404, 406."""
    call.version = MICROVERSIONS.of(call)
    project = call.parameters.get("project_id")
    if project is not None and project != call.project:
        raise bad_request("Malformed request url")


def since(call: Call, minor: int) -> None:
    """For what is there from version 3.`minor` on.  Raises 404."""
    if call.version < (3, minor):
        raise not_found()


def has(call: Call, minor: int) -> bool:
    """Whether a call is answered in version 3.`minor` or a later one."""
    return call.version >= (3, minor)


_NAMES = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 406: "notAcceptable", 409: "conflictingRequest",
    413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented", 503: "serviceUnavailable",
}  # fmt: skip


def refusal(status: int, message: str) -> dict[str, Any]:
    """The document of a refusal."""
    return {_NAMES.get(status, "computeFault"): {"code": status, "message": message}}


def not_built(what: str) -> CallRefused:
    """501: it is part of the API, and not of this service."""
    return CallRefused(501, f"{what}: not built.")
