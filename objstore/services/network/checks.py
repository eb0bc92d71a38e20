"""Values of attributes as clients send them: each check gives the normal form or refuses with what is wrong.  Pure and total."""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from objstore.services.network.problems import bad, shown

Check = Callable[[str, Any], Any]
IpNetwork = IPv4Network | IPv6Network
MAX_TEXT_CHARS = 255
MAX_NUMBER = 2**31 - 1
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PROJECT = re.compile(r"[A-Za-z0-9_.-]{0,255}")
_DNS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?")
_RANGE = re.compile(r"[0-9A-Fa-f:.]{2,45}/[0-9]{1,3}")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


def wrong(name: str, reason: str) -> Exception:
    """The refusal of a value."""
    return bad(f"Invalid input for {name}. Reason: {reason}.")


def text(name: str, value: Any) -> str:
    """A text of at most 255 characters."""
    return long_text(name, value, MAX_TEXT_CHARS)


def long_text(name: str, value: Any, most: int) -> str:
    """A text of at most `most` characters, none of them NUL."""
    if not isinstance(value, str):
        raise wrong(name, f"'{shown(value)}' is not a valid string")
    if len(value) > most:
        raise wrong(name, f"'{shown(value)}' exceeds maximum length of {most}")
    if "\0" in value or any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):
        raise wrong(name, "it holds a character that no text has")
    return value


def text_or_none(name: str, value: Any) -> str:
    """The same; null is the empty text."""
    return "" if value is None else text(name, value)


def boolean(name: str, value: Any) -> bool:
    """True and false, also as words and as 0 and 1."""
    word = str(value).lower() if isinstance(value, bool | int | str) else ""
    if word not in _TRUE + _FALSE:
        raise wrong(name, f"'{shown(value)}' cannot be converted to boolean")
    return word in _TRUE


def number(low: int, high: int) -> Check:
    """A whole number between two."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong(name, f"'{shown(value)}' is not an integer")
        if not low <= value <= high:
            raise wrong(name, f"'{value}' is not in valid range of {low} through {high}")
        return value

    return check


def one_of(*values: Any) -> Check:
    """One of some values."""

    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, str | int) or value not in values:
            raise wrong(name, f"'{shown(value)}' is not in {list(values)}")
        return value

    return check


def or_none(check: Check) -> Check:
    """What a check lets pass, or null."""
    return lambda name, value: None if value is None else check(name, value)


def ip_version(name: str, value: Any) -> int:
    """4 or 6, also as a text."""
    found = int(value) if isinstance(value, str) and value in ("4", "6") else value
    if isinstance(found, bool) or found not in (4, 6):
        raise wrong(name, f"'{shown(value)}' is not in [4, 6]")
    return int(found)


def uuid(name: str, value: Any) -> str:
    """An id."""
    if not isinstance(value, str) or _UUID.fullmatch(value.lower()) is None:
        raise wrong(name, f"'{shown(value)}' is not a valid UUID")
    return value.lower()


def is_uuid(value: str) -> bool:
    """Whether a text is an id."""
    return _UUID.fullmatch(value) is not None


def project(name: str, value: Any) -> str:
    """The id of a project."""
    if not isinstance(value, str) or _PROJECT.fullmatch(value) is None:
        raise wrong(name, f"'{shown(value)}' is not the id of a project")
    return value


def mac(name: str, value: Any) -> str:
    """A hardware address of one device, with colons."""
    found = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if _MAC.fullmatch(found) is None:
        raise wrong(name, f"'{shown(value)}' is not a valid MAC address")
    if int(found[:2], 16) & 1 or found == "00:00:00:00:00:00":
        raise wrong(name, f"'{shown(value)}' is not the MAC address of one device")
    return found


def address(name: str, value: Any) -> str:
    """An IP address in its shortest form."""
    refused = wrong(name, f"'{shown(value)}' is not a valid IP address")
    if not isinstance(value, str) or len(value) > 45 or "%" in value:
        raise refused
    try:
        return str(ip_address(value))
    except ValueError:
        raise refused from None


def network(name: str, value: Any) -> IpNetwork:
    """A range of addresses; bits behind the prefix are dropped."""
    refused = wrong(name, f"'{shown(value)}' is not a valid IP subnet")
    if not isinstance(value, str) or _RANGE.fullmatch(value) is None:
        raise refused
    try:
        return ip_network(value, strict=False)
    except ValueError:
        raise refused from None


def cidr(name: str, value: Any) -> str:
    """The same as a text."""
    return str(network(name, value))


def listed(check: Check, most: int, *, unique: bool = True) -> Check:
    """A list of what a check lets pass."""

    def check_all(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise wrong(name, f"'{shown(value)}' is not a list")
        if len(value) > most:
            raise wrong(name, f"there are {len(value)} items and may be {most}")
        found = [check(name, item) for item in value]
        if unique:
            for at, item in enumerate(found):
                if item in found[:at]:
                    raise wrong(name, f"Duplicate items in the list: '{shown(item)}'")
        return found

    return check_all


def fields(value: Any, name: str, allowed: Sequence[str]) -> dict[str, Any]:
    """An object of JSON that has some keys and no others."""
    if not isinstance(value, dict):
        raise wrong(name, f"'{shown(value)}' is not a dictionary")
    unknown = [key for key in value if key not in allowed]
    if unknown:
        raise wrong(name, f"Unexpected keys supplied: {shown(', '.join(map(str, unknown)))}")
    return value


def dns_name(name: str, value: Any) -> str:
    """A name for the DNS, or none."""
    found = text_or_none(name, value).lower()
    if found and (_DNS.fullmatch(found) is None or len(found) > 253):
        raise wrong(name, f"'{shown(value)}' is not a valid PQDN or FQDN")
    return found


def small_object(name: str, value: Any) -> dict[str, Any]:
    """An object of JSON that is kept as it is: of at most 4,095 characters."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, f"'{shown(value)}' is not a dictionary")
    if len(repr(value)) > 4095:
        raise wrong(name, "it is longer than 4095 characters")
    return value
