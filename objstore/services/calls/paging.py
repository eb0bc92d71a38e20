"""Pages of lists: limit, marker, and the two ways to say how a list is sorted."""

import re
from collections.abc import Collection, Sequence
from urllib.parse import urlencode

from objstore.services.calls.call import Call
from objstore.services.calls.problems import bad_request

_NUMBER = re.compile(r"[0-9]{1,18}")
MAX_SORT_KEYS = 8


def limit_of(call: Call, *, default: int, most: int) -> int:
    """How many things a page may have.  Raises 400."""
    text = call.first("limit")
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None:
        raise bad_request("limit param must be an integer" if not re.fullmatch(r"-[0-9]{1,18}", text) else "limit param must be positive")
    return min(int(text), most)


def sort_of(call: Call, keys: Collection[str], *, default: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(key, "asc" or "desc") in order, from `sort=KEY:DIR,...` or `sort_key=...&sort_dir=...`.  Raises 400."""
    plain = call.first("sort")
    named = [value for name, value in call.query if name == "sort_key"]
    directions = [value for name, value in call.query if name == "sort_dir"]
    if plain is not None:
        if named or directions:
            raise bad_request("Old and new sorting syntax cannot be combined")
        found = [(key.strip(), direction.strip() or "desc") for key, _, direction in (part.partition(":") for part in plain.split(","))]
    elif named:
        if len(directions) not in (0, 1, len(named)):
            raise bad_request("Number of sort dirs does not match the number of sort keys")
        each = directions if len(directions) == len(named) else [directions[0] if directions else "desc"] * len(named)
        found = list(zip(named, each, strict=True))
    else:
        found = list(default) if not directions else [(key, directions[0]) for key, _ in default]
    for key, direction in found:
        if key not in keys:
            raise bad_request(f"Invalid sort key: {key[:64]}. It must be one of the following: {', '.join(sorted(keys))}.")
        if direction not in ("asc", "desc"):
            raise bad_request(f"Invalid sort direction: {direction[:64]}")
    if len(found) > MAX_SORT_KEYS:
        raise bad_request(f"A list is sorted by {MAX_SORT_KEYS} keys at most.")
    return found


def query_without(call: Call, *names: str) -> list[tuple[str, str]]:
    """The query without some parameters, for links to other pages."""
    return [(name, value) for name, value in call.query if name not in names]


def link(path: str, query: Sequence[tuple[str, str]]) -> str:
    """A path with its query."""
    return f"{path}?{urlencode(query)}" if query else path
