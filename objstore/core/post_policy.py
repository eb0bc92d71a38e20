"""Policies of browser uploads: what a form may hold, signed beforehand by somebody who has a key.

A policy is JSON: an `expiration`, and `conditions` on fields: {"name": "value"}, ["eq", "$name", "value"],
["starts-with", "$name", "prefix"], ["content-length-range", least, most].  Every field of the form must be named by a condition,
bucket and key included: what the signer did not think of is refused (Ceph CVE-2023-43040, RustFS GHSA-w5fh).
Names of fields are compared in lower case, values as they are.
"""

import base64
import binascii
import re
from calendar import timegm
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from objstore.errors import Refused

MAX_POLICY_CHARS = 40_000  # base64; the fields of a form are limited to less than twice of it together
MAX_CONDITIONS = 1000
# Fields that need no condition: they carry the policy and its signature, or the file.
FREE_FIELDS = frozenset(("awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"))
IGNORED_PREFIX = "x-ignore-"
_EXPIRATION = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|\+00:00)", re.ASCII)


class PolicyMalformed(Refused):
    """The policy is no policy; the message says why."""


class PolicyViolated(Refused):
    """The form is not what the policy allows; the message says which condition."""


class Condition(msgspec.Struct, frozen=True):
    """One condition: "eq" or "starts-with" on a field."""

    kind: str
    name: str
    value: str


class PostPolicy(msgspec.Struct, frozen=True):
    """A policy as read.  `most_bytes` is None when the size is not limited."""

    expires_s: int
    conditions: tuple[Condition, ...]
    least_bytes: int = 0
    most_bytes: int | None = None


class _Document(msgspec.Struct, frozen=True):
    expiration: str
    conditions: list[dict[str, str | int] | list[str | int]]


_DECODE = msgspec.json.Decoder(_Document).decode


def parse_policy(text: str) -> PostPolicy:
    """Read a policy as it stands in a form, in base64.  Raises PolicyMalformed."""
    if len(text) > MAX_POLICY_CHARS:
        raise PolicyMalformed("Invalid Policy: it is too long.")
    try:
        document = _DECODE(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError, RecursionError) as failure:  # msgspec's errors are ValueErrors
        raise PolicyMalformed(f"Invalid Policy: Invalid JSON: {failure}") from None
    if len(document.conditions) > MAX_CONDITIONS:
        raise PolicyMalformed(f"Invalid Policy: more than {MAX_CONDITIONS} conditions.")
    conditions: list[Condition] = []
    least, most = 0, None
    for item in document.conditions:
        if isinstance(item, dict):
            if not item:
                raise PolicyMalformed(
                    "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified."
                )
            conditions += [Condition("eq", name.lower(), str(value)) for name, value in item.items()]
            continue
        kind = item[0].lower() if item and isinstance(item[0], str) else ""
        if len(item) != 3 or kind not in ("eq", "starts-with", "content-length-range"):
            raise PolicyMalformed("Invalid Policy: Invalid Condition: wrong number of arguments or unknown operation.")
        if kind == "content-length-range":
            low, high = _size(item[1]), _size(item[2])
            least, most = max(least, low), high if most is None else min(most, high)
            continue
        name = item[1]
        if not isinstance(name, str) or not name.startswith("$") or len(name) < 2:
            raise PolicyMalformed("Invalid Policy: Invalid Condition: the field must be named as $name.")
        conditions.append(Condition(kind, name[1:].lower(), str(item[2])))
    return PostPolicy(_expiration(document.expiration), tuple(conditions), least, most)


def check_form(policy: PostPolicy, fields: Mapping[str, str], now_s: int) -> None:
    """See that a form is what the policy allows; `fields` by lower-case name, `bucket` among them.  Raises PolicyViolated."""
    if now_s >= policy.expires_s:
        raise PolicyViolated("Invalid according to Policy: Policy expired.")
    covered: set[str] = set()
    for condition in policy.conditions:
        covered.add(condition.name)
        value = fields.get(condition.name, "")
        if not _holds(condition, value):
            shown = f'["{condition.kind}", "${condition.name}", "{condition.value}"]'
            raise PolicyViolated(f"Invalid according to Policy: Policy Condition failed: {shown}")
    extra = sorted(name for name in fields if name not in covered and name not in FREE_FIELDS and not name.startswith(IGNORED_PREFIX))
    if extra:
        raise PolicyViolated(f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")


def _holds(condition: Condition, value: str) -> bool:
    # "\$" stands for a dollar sign, and some signers write it as they mean it.
    for wanted in {condition.value, condition.value.replace("\\$", "$")}:
        if condition.kind == "eq":
            if value == wanted:
                return True
        elif condition.name == "content-type":
            if all(item.strip().startswith(wanted) for item in value.split(",")):  # a list: every type of it must be allowed
                return True
        elif value.startswith(wanted):
            return True
    return False


def _size(value: str | int) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise PolicyMalformed("Invalid Policy: Invalid content-length-range.")
    return int(text)


def _expiration(text: str) -> int:
    match = _EXPIRATION.fullmatch(text)
    if match is None:
        raise PolicyMalformed(f"Invalid Policy: Invalid 'expiration' value: '{text[:64]}'")
    try:
        return timegm(datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timetuple())
    except ValueError:
        raise PolicyMalformed(f"Invalid Policy: Invalid 'expiration' value: '{text}'") from None
