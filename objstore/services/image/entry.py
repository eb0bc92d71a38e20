"""What clients say of images: the document of a new image, and json-patch; checked, with Glance's words for what is wrong.  Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from objstore.services.calls.problems import CallRefused, bad_request, conflict, forbidden, too_large
from objstore.services.image.formats import AMAZON, CONTAINER_FORMATS, DISK_FORMATS
from objstore.services.image.records import QUEUED, VISIBILITIES, Image
from objstore.services.image.settings import ImageSettings

PATCH_TYPES = ("application/openstack-images-v2.1-json-patch", "application/openstack-images-v2.0-json-patch")
READ_ONLY = (
    "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at", "self", "file", "schema", "stores",
    "direct_url",
)  # fmt: skip
RESERVED = ("deleted", "deleted_at", "is_public", "member", "members", "properties")
RESERVED_PREFIX = "os_glance"
MAX_NAME_CHARS = 255
MAX_VALUE_CHARS = 65_535
MAX_PROPERTIES_CHARS = 256 * 1024  # of an image, names and values together
MAX_OPERATIONS = 512
MAX_NUMBER = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
Check = Callable[[str, Any], Any]


def is_uuid(text: object) -> bool:
    """Whether a text is a UUID with its hyphens."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def _wrong(name: str, value: Any, why: str) -> CallRefused:
    return bad_request(f"Provided object does not match schema 'image': {str(value)[:64]!r} {why}. Property: {name[:64]}")


def _text(name: str, value: Any) -> Any:
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or "\0" in value:
        raise _wrong(name, value, f"is not text of at most {MAX_NAME_CHARS} characters")
    return value


def _nullable(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _flag(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        raise _wrong(name, value, "is not of type 'boolean'")
    return value


def _number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise _wrong(name, value, f"is not an integer from 0 to {MAX_NUMBER}")
    return value


def _one_of(choices: Sequence[str]) -> Check:
    def check(name: str, value: Any) -> Any:
        if value not in choices:
            raise _wrong(name, value, f"is not one of {list(choices)}")
        return value

    return check


def _tags(name: str, value: Any) -> Any:
    if not isinstance(value, list):
        raise _wrong(name, value, "is not of type 'array'")
    return [_text(name, tag) for tag in dict.fromkeys(value if all(isinstance(tag, str) for tag in value) else [None])]


def _id(name: str, value: Any) -> Any:
    if not is_uuid(value):
        raise _wrong(name, value, "is not a UUID")
    return value.lower()


BASE: dict[str, Check] = {
    "name": _nullable(_text), "visibility": _one_of(VISIBILITIES), "protected": _flag, "os_hidden": _flag, "min_disk": _number, "min_ram": _number,
    "disk_format": _nullable(_one_of(DISK_FORMATS)), "container_format": _nullable(_one_of(CONTAINER_FORMATS)), "tags": _tags,
    "owner": _nullable(_text),
}  # fmt: skip


def _property(name: str, value: Any) -> str | None:
    if not name or len(name) > MAX_NAME_CHARS or "\0" in name or "/" in name:
        raise bad_request(f"The name of a property has 1 to {MAX_NAME_CHARS} characters and no slash.")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_VALUE_CHARS or "\0" in value):
        raise _wrong(name, value, f"is not text of at most {MAX_VALUE_CHARS} characters")
    return value if value is None else str(value)


def _check_open(name: str) -> None:
    if name in READ_ONLY or name == "locations":
        raise forbidden(f"Attribute '{name}' is read-only.")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise forbidden(f"Attribute '{name[:64]}' is reserved.")


def parse_new(document: Mapping[str, Any]) -> tuple[str | None, dict[str, Any], dict[str, str | None]]:
    """(id as given, attributes, properties) of the document of a new image.  Raises 400, 403."""
    id_ = _id("id", document["id"]) if "id" in document else None
    attributes: dict[str, Any] = {}
    properties: dict[str, str | None] = {}
    for name, value in document.items():
        if name == "id":
            continue
        _check_open(name)
        if name in BASE:
            attributes[name] = BASE[name](name, value)
        else:
            properties[name] = _property(name, value)
    return id_, attributes, properties


def check_image(image: Image, settings: ImageSettings) -> None:
    """What must hold of a whole image.  Raises 400, 413."""
    amazon = {image.disk_format, image.container_format} & set(AMAZON)
    if amazon and image.disk_format and image.container_format and image.disk_format != image.container_format:
        raise bad_request(
            "Invalid mix of disk and container formats. When setting a disk or container format to one of 'aki', 'ari', or 'ami', the "
            "container and disk formats must match."
        )
    for what, have, most in (
        ("properties", len(image.properties), settings.quota_properties), ("tags", len(image.tags), settings.quota_tags),
    ):  # fmt: skip
        if 0 < most < have:
            raise too_large(f"The limit has been exceeded on the number of allowed image {what}. Attempted: {have}, Maximum: {most}")
    if sum(len(name) + len(value or "") for name, value in image.properties.items()) > MAX_PROPERTIES_CHARS:
        raise too_large(f"The properties of an image have {MAX_PROPERTIES_CHARS} characters together at most.")


@dataclass(frozen=True)
class Operation:
    """One step of a json-patch."""

    op: str  # add, replace, remove
    name: str
    value: Any = None
    deep: bool = False  # the path has more than a name


def parse_patch(document: Any, content_type: str) -> list[Operation]:
    """The steps of a json-patch of either media type.  Raises 400, 403, 415."""
    media = content_type.partition(";")[0].strip().lower()
    if media not in PATCH_TYPES:
        raise CallRefused(
            415,
            f"Unsupported Content-Type; one of {', '.join(PATCH_TYPES)} is needed.",
            [(b"accept-patch", ", ".join(PATCH_TYPES).encode())],
        )
    if not isinstance(document, list):
        raise bad_request("Request body must be a JSON array of operation objects.")
    if len(document) > MAX_OPERATIONS:
        raise bad_request(f"A json-patch has {MAX_OPERATIONS} operations at most.")
    return [_operation(raw, newer=media == PATCH_TYPES[0]) for raw in document]


def _operation(raw: Any, *, newer: bool) -> Operation:
    if not isinstance(raw, dict):
        raise bad_request("Operations must be JSON objects.")
    if newer:
        op, path = raw.get("op"), raw.get("path")
    else:
        named = [(name, raw[name]) for name in ("replace", "add", "remove") if name in raw]
        if len(named) != 1:
            raise bad_request("Operation objects must contain exactly one member named 'add', 'remove', or 'replace'.")
        op, path = named[0]
    if op not in ("add", "replace", "remove"):
        raise bad_request("Unable to find `op` in JSON Schema change: it is one of add, replace, remove.")
    if not isinstance(path, str) or not path.startswith("/") or path == "/" or re.search(r"~(?![01])", path) or "//" in path:
        raise bad_request(f"Invalid JSON pointer for this resource: {str(path)[:64]!r}")
    if op != "remove" and "value" not in raw:
        raise bad_request(f'Operation "{op}" requires a member named "value".')
    pieces = [piece.replace("~1", "/").replace("~0", "~") for piece in path[1:].split("/")]
    if len(pieces) > 1 and pieces[0] not in ("locations", "tags"):
        raise bad_request(f"Invalid JSON pointer for this resource: {path[:64]!r}")
    name = pieces[0]
    if name == "id":
        raise forbidden("Attribute 'id' is read-only.")
    _check_open(name)
    if len(pieces) > 1:
        raise bad_request(f"Invalid JSON pointer for this resource: {path[:64]!r}")
    return Operation(op, name, raw.get("value"))


def apply(image: Image, operations: Sequence[Operation], *, is_admin: bool) -> Image:
    """The image after the patch.  Raises 400, 403, 409."""
    for step in operations:
        image = _remove(image, step) if step.op == "remove" else _set(image, step, is_admin=is_admin)
    return image


def _remove(image: Image, step: Operation) -> Image:
    if step.name in BASE:
        raise forbidden(f"Property {step.name} may not be removed.")
    if step.name not in image.properties:
        raise conflict(f"Property {step.name[:64]} does not exist.")
    return replace(image, properties={name: value for name, value in image.properties.items() if name != step.name})


def _set(image: Image, step: Operation, *, is_admin: bool) -> Image:
    name = step.name
    if name not in BASE:
        if step.op == "replace" and name not in image.properties:
            raise conflict(f"Property {name[:64]} does not exist.")
        return replace(image, properties={**image.properties, name: _property(name, step.value)})
    value = BASE[name](name, step.value)
    if name == "owner":
        if not is_admin:
            raise forbidden("Setting an image's owner is the administrator's.")
        value = value or image.owner
    if name in ("disk_format", "container_format") and image.status != QUEUED and value != getattr(image, name):
        raise forbidden(f"Attribute {name} can be only replaced for a queued image.")
    changes: dict[str, Any] = {name: value}
    return replace(image, **changes)
