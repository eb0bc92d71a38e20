"""Fields of documents that clients send, checked one by one with Nova's words for what is wrong.  Pure."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, bad_request

MAX_NAME_CHARS = 255
MAX_USER_DATA_CHARS = 65_535  # as base64, Nova's limit
MAX_ITEM_CHARS = 255
MAX_TAGS = 50
MAX_TAG_CHARS = 60
MAX_INTEGER = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_ITEM = re.compile(r"[a-zA-Z0-9-_:. ]{1,255}")
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_DEVICE = re.compile(r"(/dev/)?(vd|sd|hd|xvd)[a-z]{1,2}")
_TRUE = ("true", "1", "on", "yes", "t", "y")
_FALSE = ("false", "0", "off", "no", "f", "n", "")
Check = Callable[[str, Any], Any]


def wrong(name: str, value: object, why: str) -> CallRefused:
    """The refusal of a field."""
    return bad_request(f"Invalid input for field/attribute {name[:64]}. Value: {str(value)[:64]}. {why}")


def only(document: object, known: Collection[str], where: str = "") -> dict[str, Any]:
    """An object of JSON with no other fields than these.  Raises 400."""
    if not isinstance(document, dict):
        raise bad_request(f"Invalid input for field/attribute {where or 'body'}. It is not of type 'object'")
    strange = [name for name in document if name not in known]
    if strange:
        raise bad_request(
            f"Invalid input for field/attribute {where or 'body'}. Additional properties are not allowed ({strange[0][:64]!r} was unexpected)"
        )
    return document


def member(document: object, name: str) -> Any:
    """What an object with this one member has in it.  Raises 400."""
    if not isinstance(document, dict) or name not in document:
        raise bad_request(f"Invalid input for field/attribute body. '{name}' is a required property")
    return document[name]


def is_uuid(text: object) -> bool:
    """Whether a text is a UUID."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def uuid(name: str, value: Any) -> str:
    """A UUID."""
    if not is_uuid(value):
        raise wrong(name, value, "It is not a 'uuid'")
    return str(value).lower()


def text(most: int = MAX_NAME_CHARS, least: int = 0) -> Check:
    """Text of bounded length."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most or "\0" in value:
            raise wrong(name, value, f"It is not text of {least} to {most} characters")
        return value

    return check


def server_name(name: str, value: Any) -> str:
    """A name: not blank, nothing that cannot be printed."""
    found: str = text(MAX_NAME_CHARS, 1)(name, value)
    if not found.strip() or not all(char.isprintable() for char in found):
        raise wrong(name, value, "It is blank, or has characters that cannot be printed")
    return found.strip()


def flag(name: str, value: Any) -> bool:
    """A boolean as Nova takes them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int) and str(value).strip().lower() in (*_TRUE, *_FALSE):
        return str(value).strip().lower() in _TRUE
    raise wrong(name, value, "It is not of type 'boolean'")


def integer(least: int, most: int = MAX_INTEGER) -> Check:
    """A whole number, as a number or its digits."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise wrong(name, value, f"It is not an integer from {least} to {most}")
        return int(value)

    return check


def one_of(*choices: str) -> Check:
    """One of some words."""

    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise wrong(name, value, f"It is not one of {list(choices)}")
        return str(value)

    return check


def nullable(check: Check) -> Check:
    """None stays what it is."""
    return lambda name, value: None if value is None else check(name, value)


def address(version: int) -> Check:
    """An IP address, or nothing."""

    def check(name: str, value: Any) -> str:
        if value in (None, ""):
            return ""
        found = _address(value)
        if found is None or found.version != version:
            raise wrong(name, value, f"It is not a 'ipv{version}'")
        return str(found)

    return check


def any_address(name: str, value: Any) -> str:
    """An IP address of either kind."""
    found = _address(value)
    if found is None:
        raise wrong(name, value, "It is not an IP address")
    return str(found)


def _address(value: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without a zone, which could be any text: fd00::5%x is fd00::5 by another name."""
    try:
        return ipaddress.ip_address(value) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None


def metadata(name: str, value: Any) -> dict[str, str]:
    """Items of metadata."""
    if not isinstance(value, dict):
        raise wrong(name, value, "It is not of type 'object'")
    for key, item in value.items():
        if not isinstance(key, str) or _ITEM.fullmatch(key) is None:
            raise wrong(name, key, "A name has 1 to 255 of the letters, digits and -_:. ")
        if not isinstance(item, str) or len(item) > MAX_ITEM_CHARS or "\0" in item:
            raise wrong(f"{name}/{key}", item, f"It is not text of at most {MAX_ITEM_CHARS} characters")
    return dict(value)


def tag(name: str, value: Any) -> str:
    """A tag."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TAG_CHARS or "," in value or "/" in value or "\0" in value:
        raise wrong(name, value, f"A tag has 1 to {MAX_TAG_CHARS} characters, no comma and no slash")
    return value


def tags(name: str, value: Any) -> list[str]:
    """Tags, each once."""
    if not isinstance(value, list) or len(value) > MAX_TAGS:
        raise wrong(name, value, f"It is not a list of at most {MAX_TAGS} tags")
    return list(dict.fromkeys(tag(name, item) for item in value))


def user_data(name: str, value: Any) -> str:
    """Base64 of what the guest reads."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_USER_DATA_CHARS:
        raise wrong(name, "", f"It is too long: user data has {MAX_USER_DATA_CHARS} characters of base64 at most")
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("User data needs to be valid base 64.") from None
    return value


def host_name(name: str, value: Any) -> str:
    """A name for the guest in the network's names."""
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARS or not all(_HOSTNAME.fullmatch(label) for label in value.split(".")):
        raise wrong(name, value, "It is not a host name")
    return value


def device(name: str, value: Any) -> str:
    """ "vdb" of "/dev/vdb"; "" for None."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or _DEVICE.fullmatch(value) is None:
        raise wrong(name, value, "It is not the name of a device")
    return value.removeprefix("/dev/")


def made_host_name(server: str, id_: str) -> str:
    """The host name that follows from a server's name, as Nova makes it."""
    made = re.sub(r"[ _]", "-", server)
    made = re.sub(r"[^a-zA-Z0-9\-.]+", "", made).replace(".", "-").lower().strip("-")[:63].strip("-")
    return made or f"server-{id_}"


def parsed(document: Mapping[str, Any], checks: Mapping[str, tuple[Version, Check]], version: Version, where: str) -> dict[str, Any]:
    """Fields of a document, each checked; those of later microversions are unknown.  Raises 400."""
    known = [name for name, (since, _) in checks.items() if version >= since]
    return {name: checks[name][1](name, value) for name, value in only(document, known, where).items()}
