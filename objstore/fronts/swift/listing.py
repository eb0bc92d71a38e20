"""Listings of accounts and containers: their parameters, and how they look as text, JSON and XML."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from objstore.core.quota import Usage
from objstore.fronts.swift.answers import JSON, TEXT, XML, Answer, Headers, SwiftRefused
from objstore.fronts.swift.headers import large_etag
from objstore.fronts.swift.request import SwiftRequest, is_true
from objstore.fronts.swift.times import listing_time
from objstore.objects.api import BucketInfo, ObjectInfo

_FORMATS = {"text/plain": "text", "application/json": "json", "application/xml": "xml", "text/xml": "xml"}
_MAX_ACCEPT = 20


@dataclass(frozen=True)
class Wanted:
    """What a listing is asked for.  `path` is None unless it was given; `reverse` turns markers round too."""

    form: str  # "text", "json", "xml"
    limit: int
    prefix: str = ""
    delimiter: str = ""
    marker: str = ""
    end_marker: str = ""
    reverse: bool = False
    path: str | None = None


def wanted_of(request: SwiftRequest, most: int) -> Wanted:
    """The parameters.  Raises SwiftRefused: 412 for a limit beyond `most` or none at all, 406 for a form that is not known."""
    query = request.query
    text = query.get("limit", "")
    limit = most
    if text:
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            raise SwiftRefused(412, f"Value of limit must be a number from 0 to {most}")
        limit = int(text)
        if limit > most:
            raise SwiftRefused(412, f"Maximum limit is {most}")
    return Wanted(
        form=_form_of(request), limit=limit, prefix=query.get("prefix", ""), delimiter=query.get("delimiter", ""), marker=query.get("marker", ""),
        end_marker=query.get("end_marker", ""), reverse=is_true(query.get("reverse", "")), path=query.get("path"),
    )  # fmt: skip


def _form_of(request: SwiftRequest) -> str:
    asked = request.query.get("format")
    if asked:
        return {"json": "json", "xml": "xml"}.get(asked.lower(), "text")
    accept = request.headers.get("accept", "")
    if not accept:
        return "text"
    ranked: list[tuple[float, int, str]] = []
    for position, item in enumerate(accept.split(",")[:_MAX_ACCEPT]):
        kind, *parameters = (part.strip() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    raise SwiftRefused(400, "The Accept header has a quality that is no number.") from None
        form = _FORMATS.get(kind.lower()) or {"*/*": "text", "text/*": "text", "application/*": "json"}.get(kind)
        if form is not None and quality > 0:
            ranked.append((-quality, position, form))
    if not ranked:
        raise SwiftRefused(406, "Listings come as text/plain, application/json, application/xml or text/xml.")
    return min(ranked)[2]


Item = tuple[str, dict[str, object] | None]
"""A name, and what JSON and XML say of it besides; None for a common prefix."""


def container_item(info: BucketInfo, usage: Usage) -> Item:
    """A container in an account's listing."""
    return info.name, {"count": usage.objects, "bytes": usage.bytes, "last_modified": listing_time(info.created_us)}


def object_item(info: ObjectInfo) -> Item:
    """An object in a container's listing."""
    kind = info.content_type or "application/octet-stream"
    facts = {"hash": large_etag(info), "bytes": info.size, "content_type": kind, "last_modified": listing_time(info.modified_us)}
    return info.key, {**facts, "slo_etag": f'"{large_etag(info)}"'} if info.part_count else facts


DELETED_TYPE = "application/x-deleted;swift_versions_deleted=1"  # of a delete marker, as Swift shows it
_NO_BYTES = "d41d8cd98f00b204e9800998ecf8427e"


def version_item(info: ObjectInfo) -> Item:
    """A version, or a delete marker, in a listing of versions."""
    name, facts = object_item(info)
    assert facts is not None
    if info.is_delete_marker:
        facts.update(hash=_NO_BYTES, bytes=0, content_type=DELETED_TYPE)
    return name, {**facts, "version_id": info.version_id or "null", "is_latest": info.is_latest}


def rendered(wanted: Wanted, items: Sequence[Item], *, root: str, name: str, element: str, headers: Headers) -> Answer:
    """The answer; an empty text is 204."""
    if wanted.form == "json":
        rows = [{"subdir": key} if facts is None else {"name": key, **facts} for key, facts in items]
        body = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return Answer(200, [JSON, *headers], body)
    if wanted.form == "xml":
        lines = [f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} name="{_attribute(name)}">']
        lines += [_xml(key, facts, element) for key, facts in items]
        lines.append(f"</{root}>")
        return Answer(200, [XML, *headers], "".join(lines).encode())
    if not items:
        return Answer(204, [TEXT, *headers])
    return Answer(200, [TEXT, *headers], "".join(f"{key}\n" for key, _ in items).encode())


def _attribute(text: str) -> str:
    return _text(text, quote=True).replace("\n", "&#10;").replace("\t", "&#9;")


def _text(text: str, *, quote: bool = False) -> str:
    return escape(_printable(text), quote=quote).replace("\r", "&#13;")  # as it is, readers would make a line feed of it


def _printable(text: str) -> str:
    # XML 1.0 has no way to write most control characters, nor two code points that are none.
    return "".join(char if (char >= " " or char in "\t\n\r") and char not in "\ufffe\uffff" else "\ufffd" for char in text)


def _xml(key: str, facts: dict[str, object] | None, element: str) -> str:
    shown = _text(key)
    if facts is None:
        return f'<subdir name="{_attribute(key)}"><name>{shown}</name></subdir>'
    rest = "".join(f"<{field}>{_text(str(value))}</{field}>" for field, value in facts.items())
    return f"<{element}><name>{shown}</name>{rest}</{element}>"


def within(names: Iterable[Item], wanted: Wanted, *, key: Callable[[Item], str] = lambda item: item[0]) -> list[Item]:
    """The items between the markers, in the order asked for, at most `limit`; names behind a marker that lies in a common prefix make it one of them."""
    low, high = (wanted.end_marker, wanted.marker) if wanted.reverse else (wanted.marker, wanted.end_marker)
    found = [item for item in names if (not low or key(item) > low or _goes_on(item, low)) and (not high or key(item) < high)]
    if wanted.reverse:
        found.reverse()
    return found[: wanted.limit]


def _goes_on(item: Item, marker: str) -> bool:
    return item[1] is None and item[0] != marker and marker.startswith(item[0])
