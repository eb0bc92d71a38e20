"""What the documents of the compute service share.  Pure."""

from collections.abc import Sequence
from typing import Any

from objstore.services.calls.call import Call
from objstore.services.calls.comparing import time_text
from objstore.services.calls.paging import link, query_without
from objstore.services.calls.problems import title

View = dict[str, Any]
_NAMES = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 409: "conflictingRequest",
    413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented", 503: "serviceUnavailable",
}  # fmt: skip


def refusal(status: int, message: str) -> View:
    """The document of a refusal."""
    return {_NAMES.get(status, "computeFault"): {"code": status, "message": message or title(status)}}


def links(url: str, kind: str, id_: str) -> list[dict[str, str]]:
    """Where a thing is; `url` is the service's, "flavors" a kind."""
    return [{"rel": "self", "href": f"{url}/v2.1/{kind}/{id_}"}, {"rel": "bookmark", "href": f"{url}/{kind}/{id_}"}]


def time_of(us: int | None) -> str | None:
    """2026-11-23T01:02:03.000000, as hosts, services and aggregates show times."""
    return None if us is None else time_text(us).removesuffix("Z") + f".{us % 1_000_000:06d}"


def next_links(call: Call, path: str, kind: str, limit: int, ids: Sequence[str]) -> View:
    """Where the next page is, where this one is full: `kind`_links; nothing otherwise.  `path` is below the version, "flavors/detail"."""
    if len(ids) < limit:
        return {}
    query = [*query_without(call, "marker"), ("marker", ids[-1])]
    return {f"{kind}_links": [{"rel": "next", "href": f"{call.base_url}/v2.1/{link(path, query)}"}]}
