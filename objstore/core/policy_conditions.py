"""Conditions of policies: operators, their qualifiers, the values they compare.  Everything is parsed when a policy is.

A block `{"StringEquals": {"aws:username": ["a", "b"]}}` is one condition per key; all must hold.  Semantics are those of
the AWS reference "IAM JSON policy elements: Condition": several values are alternatives (for a negated operator: none of
them may match); a key that the request does not have fails, holds for negated operators, holds under `...IfExists`.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from objstore.core.glob import Glob, Lookup

MAX_CONDITION_VALUES = 4000  # of one policy; far more than fit into 20 KB of anything useful

_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,18})?")
# service:name, or of a web identity HOST[:PORT][/PATH]:name
_KEY = re.compile(r"[A-Za-z0-9._~/-]{1,255}(?::\d{1,5}(?:/[A-Za-z0-9._~/-]{0,200})?)?:[^\x00-\x1f${}*?]{1,256}")
_ARN_PARTS = 6

Test = Callable[[str, Lookup], bool]  # whether one value of the request fits one value of the policy


@dataclass(frozen=True, slots=True)
class Condition:
    """One key under one operator."""

    operator: str  # as written
    key: str  # lower case
    values: tuple[str, ...]  # as written
    tests: tuple[Test, ...]
    negated: bool
    if_exists: bool
    qualifier: str  # "", "ForAllValues", "ForAnyValue"
    null: bool | None = None  # of the operator Null: whether the key must be missing

    @property
    def has_patterns(self) -> bool:
        """Whether its values are patterns."""
        return any(name in self.operator for name in ("Like", "Arn"))

    def holds(self, lookup: Lookup) -> bool:
        """Whether the request satisfies it."""
        found = lookup(self.key)
        if self.null is not None:
            return (not found) == self.null
        if not found:
            # AWS: ForAllValues holds for nothing at all, ForAnyValue for nothing never does.
            return self.if_exists or self.qualifier == "ForAllValues" or (self.negated and self.qualifier != "ForAnyValue")
        if not self.qualifier and len(found) == 1:
            return self._fits(found[0], lookup) != self.negated
        if self.qualifier == "ForAllValues":
            return all(self._fits(value, lookup) != self.negated for value in found)
        if self.qualifier == "ForAnyValue":
            return any(self._fits(value, lookup) != self.negated for value in found)
        return any(self._fits(value, lookup) for value in found) != self.negated

    def _fits(self, value: str, lookup: Lookup) -> bool:
        for test in self.tests:  # noqa: SIM110 a generator costs more than most tests
            if test(value, lookup):
                return True
        return False


class BadCondition(ValueError):
    """A condition that cannot be understood; the message is AWS's where there is one."""


def parse_conditions(block: object, *, variables: bool) -> tuple[Condition, ...]:
    """The Condition element of a statement.  Raises BadCondition."""
    if not isinstance(block, dict):
        raise BadCondition("Conditions must be a map of operators to maps of keys to values.")
    conditions = []
    for operator, keys in block.items():
        if not isinstance(keys, dict):
            raise BadCondition("Conditions must be a map of operators to maps of keys to values.")
        for key, values in keys.items():
            conditions.append(_condition(operator, key, values, variables=variables))
    return tuple(conditions)


def _condition(written: str, key: str, value: object, *, variables: bool) -> Condition:
    if _KEY.fullmatch(key) is None:
        raise BadCondition("Policy has an invalid condition key")
    qualifier, _, rest = written.rpartition(":")
    if qualifier not in ("", "ForAllValues", "ForAnyValue") or (not qualifier and written.startswith(":")):
        raise BadCondition(f"Invalid Condition type : {written}")
    name = rest.removesuffix("IfExists")
    if_exists = name != rest
    values = _texts(value)
    if name == "Null":
        if if_exists or qualifier or len(values) != 1 or values[0].lower() not in ("true", "false"):
            raise BadCondition(f"Invalid Condition type : {written}")
        return Condition(written, key.lower(), values, (), negated=False, if_exists=False, qualifier="", null=values[0].lower() == "true")
    found = OPERATORS.get(name)
    if found is None:
        raise BadCondition(f"Invalid Condition type : {written}")
    make, negated = found
    tests = tuple(make(text, variables) for text in values)
    return Condition(written, key.lower(), values, tests, negated=negated, if_exists=if_exists, qualifier=qualifier)


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    if len(items) > MAX_CONDITION_VALUES:
        raise BadCondition("A condition has too many values.")
    return tuple(_text(item) for item in items)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    raise BadCondition("The values of a condition must be strings, numbers or booleans.")


# -- operators: each makes a test from one value of the policy ------------------------------------------------


def _glob(text: str, variables: bool, *, wild: bool, fold: bool = False) -> Glob:  # noqa: FBT001 as all makers of tests
    try:
        return Glob(text, variables=variables, wild=wild, fold=fold)
    except ValueError as bad:
        raise BadCondition(f"Invalid policy variable: {bad}") from None


def _equals(text: str, variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    return _glob(text, variables, wild=False).matches


def _equals_folded(text: str, variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    return _glob(text, variables, wild=False, fold=True).matches


def _like(text: str, variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    return _glob(text, variables, wild=True).matches


def _arn(text: str, variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    parts = text.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS and text != "*":
        raise BadCondition(f"Invalid ARN in a condition: {text}")
    globs = [_glob(part, variables, wild=True) for part in parts]

    def test(value: str, lookup: Lookup) -> bool:
        if text == "*":
            return True
        found = value.split(":", _ARN_PARTS - 1)
        return len(found) == _ARN_PARTS and all(glob.matches(part, lookup) for glob, part in zip(globs, found, strict=True))

    return test


def _bool(text: str, _variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    wanted = text.lower()
    if wanted not in ("true", "false"):
        raise BadCondition(f"Invalid boolean in a condition: {text}")
    return lambda value, _lookup: value.lower() == wanted


def _binary(text: str, _variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    try:
        wanted = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadCondition(f"Invalid base64 in a condition: {text}") from None

    def test(value: str, _lookup: Lookup) -> bool:
        try:
            return b64decode(value, validate=True) == wanted
        except (binascii.Error, ValueError):
            return False

    return test


def _address(text: str, _variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
    network = network_of(text)
    if network is None:
        raise BadCondition(f"Invalid IP address in a condition: {text}")

    version, mask, wanted = network.version, int(network.netmask), int(network.network_address)

    def test(value: str, _lookup: Lookup) -> bool:
        found = _number_of(value)
        return found is not None and found[0] == version and found[1] & mask == wanted

    return test


@lru_cache(4096)
def _number_of(text: str) -> tuple[int, int] | None:
    """An address's version and number; parsing one takes longer than all else about it, and the same ones come again and again."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


def network_of(text: str) -> IPv4Network | IPv6Network | None:
    """An address or a range of addresses."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _compared(parse: Callable[[str], float | None], what: str, holds: Callable[[float, float], bool]) -> "Maker":
    def make(text: str, _variables: bool) -> Test:  # noqa: FBT001 the shape of all makers
        wanted = parse(text)
        if wanted is None:
            raise BadCondition(f"Invalid {what} in a condition: {text}")
        bound = wanted

        def test(value: str, _lookup: Lookup) -> bool:
            found = parse(value)
            return found is not None and holds(found, bound)

        return test

    return make


def parse_number(text: str) -> float | None:
    """A decimal number."""
    return float(text) if _NUMBER.fullmatch(text) is not None else None


def parse_date(text: str) -> float | None:
    """Seconds since 1970 of a date in ISO 8601 (UTC unless it says else), or of such seconds."""
    if _NUMBER.fullmatch(text) is not None and len(text) != len("2026"):
        return float(text)
    if len(text) > 40 or not text.isascii():
        return None
    try:
        found = datetime.fromisoformat(text if len(text) != len("2026") else text + "-01-01")
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


Maker = Callable[[str, bool], Test]


def _family(prefix: str, parse: Callable[[str], float | None], what: str) -> dict[str, tuple[Maker, bool]]:
    equal = _compared(parse, what, lambda a, b: a == b)
    return {
        f"{prefix}Equals": (equal, False),
        f"{prefix}NotEquals": (equal, True),
        f"{prefix}LessThan": (_compared(parse, what, lambda a, b: a < b), False),
        f"{prefix}LessThanEquals": (_compared(parse, what, lambda a, b: a <= b), False),
        f"{prefix}GreaterThan": (_compared(parse, what, lambda a, b: a > b), False),
        f"{prefix}GreaterThanEquals": (_compared(parse, what, lambda a, b: a >= b), False),
    }


# Operator -> what makes its tests, and whether it is the negation of them.
OPERATORS: dict[str, tuple[Maker, bool]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringEqualsIgnoreCase": (_equals_folded, False),
    "StringNotEqualsIgnoreCase": (_equals_folded, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    **_family("Numeric", parse_number, "number"),
    **_family("Date", parse_date, "date"),
    "Bool": (_bool, False),
    "BinaryEquals": (_binary, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
}


# -- whether a condition narrows "everybody" ------------------------------------------------------------------

# Keys whose fixed values name a closed circle (S3 User Guide, "The meaning of public").
_CLOSED = frozenset(
    (
        "aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner", "aws:sourceaccount", "aws:userid", "aws:principalorgid",
        "aws:principalarn", "aws:principalaccount", "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
    )
)  # fmt: skip
_WIDEST = {4: 8, 6: 32}  # a range of addresses wider than this is everybody


def is_closed(condition: Condition) -> bool:
    """Whether the condition admits only a circle named in the policy."""
    if condition.negated or condition.if_exists or condition.qualifier == "ForAllValues" or condition.null is not None:
        return False
    if condition.operator.endswith("IpAddress"):
        return condition.key in ("aws:sourceip", "aws:vpcsourceip") and all(_is_narrow(text) for text in condition.values)
    return condition.key in _CLOSED and all(_is_fixed(text) for text in condition.values)


def _is_narrow(text: str) -> bool:
    network = network_of(text)
    return network is not None and network.prefixlen >= _WIDEST[network.version]


def _is_fixed(text: str) -> bool:
    return bool(text) and not any(sign in text for sign in ("*", "?", "${"))


def mentioned(conditions: Sequence[Condition], prefix: str) -> bool:
    """Whether any condition's key begins so."""
    return any(condition.key.startswith(prefix) for condition in conditions)
