"""What clients say in bodies of JSON: fields by type, with 400 for everything that is not so.  Pure."""

import re
from collections.abc import Mapping
from typing import Any

from objstore.services.calls.problems import CallRefused, bad_request

MAX_TEXT_CHARS = 255
MAX_PROPERTIES = 128
MAX_NUMBER = 2**31 - 1
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_TRUE = (True, "true", "True", "TRUE", "1", "on", "ON", "yes", "YES", "y", "t")
_FALSE = (False, "false", "False", "FALSE", "0", "off", "OFF", "no", "NO", "n", "f")
Fields = Mapping[str, Any]


def wrong(name: str, value: Any, why: str) -> CallRefused:
    """400 for one field."""
    return bad_request(f"Invalid input for field/attribute {name}. Value: {str(value)[:64]}. {why}")


def part(document: Fields, name: str) -> dict[str, Any]:
    """The object in a body that everything else is in.  Raises 400."""
    found = document.get(name)
    if not isinstance(found, dict):
        raise bad_request(f"Missing required element '{name}' in request body.")
    return found


def text(fields: Fields, name: str, *, default: str | None = None, least: int = 0, most: int = MAX_TEXT_CHARS) -> str | None:
    """Text without blanks around it; None where it is missing or null.  Raises 400."""
    value = fields.get(name, default)
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise wrong(name, value, f"{value!r:.64} is not of type 'string'")
    value = value.strip()
    if not least <= len(value) <= most:
        raise wrong(name, value, f"It has {least} to {most} characters.")
    return value


def needed(fields: Fields, name: str, *, least: int = 1, most: int = MAX_TEXT_CHARS) -> str:
    """Text that must be there.  Raises 400."""
    found = text(fields, name, least=least, most=most)
    if found is None:
        raise bad_request(f"'{name}' is a required property")
    return found


def uuid(fields: Fields, name: str) -> str:
    """A UUID, "" where it is missing or null.  Raises 400."""
    value = fields.get(name)
    if value is None:
        return ""
    if not is_uuid(value):
        raise wrong(name, value, f"{str(value)[:64]!r} is not a 'uuid'")
    return str(value).lower()


def is_uuid(value: object) -> bool:
    """With hyphens, or without."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def number(fields: Fields, name: str, *, least: int = 0, most: int = MAX_NUMBER) -> int | None:
    """A whole number, also written as text; None where it is missing or null.  Raises 400."""
    value = fields.get(name)
    if value is None:
        return None
    return whole(name, value, least=least, most=most)


def whole(name: str, value: Any, *, least: int = 0, most: int = MAX_NUMBER) -> int:
    """A value that must be a whole number.  Raises 400."""
    if isinstance(value, str) and _DIGITS.fullmatch(value.removeprefix("-") if least < 0 else value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong(name, value, "It must be an integer.")
    if not least <= value <= most:
        raise wrong(name, value, f"It must be from {least} to {most}.")
    return value


def flag(fields: Fields, name: str, *, default: bool) -> bool:
    """True or false, also as Cinder's clients write them.  Raises 400."""
    value = fields.get(name, default)
    if isinstance(value, bool | str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
    raise wrong(name, value, "It must be true or false.")


def metadata(fields: Fields, name: str = "metadata") -> dict[str, str]:
    """Names with values, {} where it is missing or null.  Raises 400, 413."""
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, value, "It must be an object of names with values.")
    if len(value) > MAX_PROPERTIES:
        raise CallRefused(413, f"Maximum number of metadata items exceeds {MAX_PROPERTIES}")
    return {check_name(key): check_value(key, each) for key, each in value.items()}


def check_name(name: str) -> str:
    """The name of a property.  Raises 400."""
    if not 0 < len(name) <= MAX_TEXT_CHARS or "\0" in name or not name.strip():
        raise bad_request(f"The name of a property has 1 to {MAX_TEXT_CHARS} characters.")
    return name


def check_value(name: str, value: Any) -> str:
    """The value of a property; null is nothing.  Raises 400."""
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS or "\0" in value:
        raise wrong(name[:64], value, f"Values are text of {MAX_TEXT_CHARS} characters at most.")
    return value


def asked_flag(value: str | None, name: str, *, default: bool = False) -> bool:
    """A parameter of a query that is true or false.  Raises 400."""
    return default if value is None else flag({name: value}, name, default=default)
