"""Versions of the compute API: the documents that tell of them, and which one a call asks for."""

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Range, shown

VERSIONS = Range("compute", (2, 1), (2, 96), "X-OpenStack-Nova-API-Version")
_UPDATED = {"v2.0": "2011-01-21T11:33:21Z", "v2.1": "2013-07-23T11:33:21Z"}
OPEN = frozenset((("GET", "/"), ("GET", "/v2.1"), ("GET", "/v2")))


async def find_version(call: Call) -> None:
    """Put the microversion into a call; its answer has the request's name in Nova's own header too.  Raises 400, 406."""
    call.answered.append((b"x-compute-request-id", call.request_id.encode()))
    call.version = VERSIONS.of(call)


def routes() -> dict[tuple[str, str], Handler]:
    """(method, template) -> handler."""
    return {("GET", "/"): all_versions, ("GET", "/v2.1"): one_version, ("GET", "/v2"): one_version}


async def all_versions(call: Call) -> Answer:
    """Those that there are."""
    return Answer(body={"versions": [_view(call, "v2.0"), _view(call, "v2.1")]})


async def one_version(call: Call) -> Answer:
    """One of them."""
    name = "v2.1" if call.path == "/v2.1" else "v2.0"
    kind = {"base": "application/json", "type": f"application/vnd.openstack.compute+json;version={name[1:]}"}
    return Answer(body={"version": {**_view(call, name), "media-types": [kind]}})


def _view(call: Call, name: str) -> dict[str, object]:
    path = "v2.1" if name == "v2.1" else "v2"
    return {
        "id": name, "status": "CURRENT" if name == "v2.1" else "SUPPORTED", "updated": _UPDATED[name],
        "version": shown(VERSIONS.highest) if name == "v2.1" else "", "min_version": shown(VERSIONS.lowest) if name == "v2.1" else "",
        "links": [{"rel": "self", "href": f"{call.base_url}/{path}/"}],
    }  # fmt: skip
