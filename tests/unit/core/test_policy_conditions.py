from collections.abc import Callable
from typing import Any

import pytest

from objstore.core.policy_conditions import OPERATORS, BadCondition, is_closed, network_of, parse_conditions, parse_date, parse_number


def holds(operator: str, key: str, wanted: Any, *found: str, missing: bool = False) -> bool:
    (condition,) = parse_conditions({operator: {key: wanted}}, variables=True)
    values = {} if missing else {key.lower(): list(found)}
    return condition.holds(values.get)


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", "aB", "Ab", True),
        ("StringNotEqualsIgnoreCase", "aB", "Ab", False),
        ("StringLike", "a*c?", "abbcd", True),
        ("StringNotLike", "a*", "ab", False),
        ("NumericEquals", 10, "10", True),
        ("NumericEquals", "10.0", "10", True),
        ("NumericNotEquals", 10, "11", True),
        ("NumericLessThan", 10, "9", True),
        ("NumericLessThanEquals", 10, "10", True),
        ("NumericGreaterThan", 10, "10", False),
        ("NumericGreaterThanEquals", 10, "10", True),
        ("NumericLessThan", 10, "nine", False),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", True),
        ("DateLessThan", "2026-01-01", "1700000000", True),
        ("DateEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", False),
        ("DateLessThanEquals", "2026-01-01T00:00:00Z", "garbage", False),
        ("Bool", True, "true", True),
        ("Bool", "False", "true", False),
        ("BinaryEquals", "QUI=", "QUI=", True),
        ("BinaryEquals", "QUI=", "no base64", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", ["192.168.0.0/16", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", True),
        ("IpAddress", "10.0.0.0/8", "", False),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", True),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("ArnEquals", "arn:aws:iam::*:user/a*", "arn:aws:iam::acct:user/abc", True),
        ("ArnLike", "arn:aws:iam::*:user/a", "arn:aws:iam::x:y:user/a", False),
        ("ArnLike", "*", "anything", True),
        ("ArnNotLike", "arn:aws:iam::b:*", "arn:aws:iam::a:root", True),
        ("ArnNotEquals", "arn:aws:iam::a:*", "arn:aws:iam::a:root", False),
    ],
)
def test_operators(operator: str, wanted: Any, found: str, expected: bool) -> None:
    assert holds(operator, "aws:x", wanted, found) is expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_fails_unless_the_operator_denies_or_does_not_insist(operator: str) -> None:
    kinds = {"Nu": "1", "Da": "2026-01-01", "Bo": "true", "Bi": "QUI=", "Ip": "10.0.0.1", "No": "10.0.0.1", "Ar": "arn:a:b:c:d:e"}
    wanted = kinds.get(operator[:2], "x")
    assert holds(operator, "aws:x", wanted, missing=True) is ("Not" in operator)
    assert holds(operator + "IfExists", "aws:x", wanted, missing=True)
    assert not holds("ForAnyValue:" + operator, "aws:x", wanted, missing=True)
    assert holds("ForAllValues:" + operator, "aws:x", wanted, missing=True)


def test_null_asks_whether_the_key_is_there() -> None:
    assert holds("Null", "aws:x", "true", missing=True)
    assert not holds("Null", "aws:x", True, "a")
    assert holds("Null", "aws:x", "false", "a")


def test_sets_of_values() -> None:
    assert holds("ForAllValues:StringEquals", "aws:tagkeys", ["a", "b", "c"], "a", "b")
    assert not holds("ForAllValues:StringEquals", "aws:tagkeys", ["a"], "a", "b")
    assert holds("ForAnyValue:StringEquals", "aws:tagkeys", ["b"], "a", "b")
    assert not holds("ForAnyValue:StringNotEquals", "aws:tagkeys", ["a", "b"], "a", "b")
    assert holds("ForAllValues:StringNotEquals", "aws:tagkeys", ["c"], "a", "b")
    assert holds("StringEquals", "aws:tagkeys", "b", "a", "b")
    assert not holds("StringNotEquals", "aws:tagkeys", "b", "a", "b")


def test_variables_are_filled_in_from_the_request() -> None:
    (condition,) = parse_conditions({"StringLike": {"s3:prefix": "home/${aws:username}/*"}}, variables=True)
    values = {"s3:prefix": ["home/al/x"], "aws:username": ["al"]}
    assert condition.holds(values.get)
    assert not condition.holds({"s3:prefix": ["home/al/x"]}.get)


@pytest.mark.parametrize(
    "block",
    [
        [],
        "x",
        {"StringEquals": "x"},
        {"StringEquals": {"nokey": "x"}},
        {"StringEquals": {"aws:a": {}}},
        {"StringEquals": {"aws:a": [["x"]]}},
        {"StringEquals": {"aws:a": None}},
        {"stringequals": {"aws:a": "x"}},
        {"Foo": {"aws:a": "x"}},
        {"ForSome:StringEquals": {"aws:a": "x"}},
        {":StringEquals": {"aws:a": "x"}},
        {"ForAllValues:": {"aws:a": "x"}},
        {"NullIfExists": {"aws:a": "true"}},
        {"Null": {"aws:a": "maybe"}},
        {"Null": {"aws:a": ["true", "false"]}},
        {"NumericEquals": {"aws:a": "x"}},
        {"NumericEquals": {"aws:a": "1" * 100}},
        {"DateEquals": {"aws:a": "yesterday"}},
        {"DateEquals": {"aws:a": "2" * 1000}},
        {"Bool": {"aws:a": "yes"}},
        {"BinaryEquals": {"aws:a": "%"}},
        {"IpAddress": {"aws:a": "10.0.0.0/99"}},
        {"ArnEquals": {"aws:a": "x"}},
        {"StringLike": {"aws:a": "${open"}},
        {"StringEquals": {"aws:a": ["x"] * 5000}},
    ],
)
def test_what_cannot_be_understood_is_refused(block: object) -> None:
    with pytest.raises(BadCondition):
        parse_conditions(block, variables=True)


@pytest.mark.parametrize(
    ("block", "closed"),
    [
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}, True),
        ({"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}, False),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False),
        ({"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}, True),
        ({"StringEqualsIfExists": {"aws:SourceVpc": "vpc-91237329"}}, False),
        ({"StringLike": {"aws:SourceVpc": "vpc-*"}}, False),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
        ({"StringEquals": {"aws:userid": "${aws:userid}"}}, False),
        ({"StringEquals": {"s3:prefix": "a"}}, False),
        ({"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}, False),
    ],
)
def test_only_fixed_values_of_some_keys_name_a_closed_circle(block: object, closed: bool) -> None:
    assert is_closed(parse_conditions(block, variables=True)[0]) is closed


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_number, "-1.5", -1.5),
        (parse_number, "1e9", None),
        (parse_number, "", None),
        (parse_date, "2026", 1767225600.0),
        (parse_date, "1767225600", 1767225600.0),
        (parse_date, "2026-13-01", None),
        (parse_date, "\uff12026", None),
        (network_of, "nowhere", None),
    ],
)
def test_values_are_read_or_refused(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value
