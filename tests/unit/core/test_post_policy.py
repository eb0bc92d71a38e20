"""What a signed policy lets a form hold."""

import base64
import json
from typing import Any

import pytest

from objstore.core.post_policy import Condition, PolicyMalformed, PolicyViolated, check_form, parse_policy

EXPIRES = "2030-01-01T00:00:00.000Z"
NOW = 1_800_000_000


def encoded(document: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()


def policy(*conditions: Any, expiration: str = EXPIRES) -> Any:
    return parse_policy(encoded({"expiration": expiration, "conditions": list(conditions)}))


def test_a_policy_is_read_with_names_in_lower_case() -> None:
    found = policy({"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "foo"], ["content-length-range", 1, "10"], ["content-length-range", 0, 9])
    assert found.conditions == (Condition("eq", "bucket", "b"), Condition("starts-with", "key", "foo"))
    assert (found.expires_s, found.least_bytes, found.most_bytes) == (1893456000, 1, 9)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "[" * 30_000,
        '{"conditions": [' + "[" * 20_000,
        {"conditions": []},
        {"expiration": EXPIRES},
        {"EXPIRATION": EXPIRES, "conditions": []},
        {"expiration": EXPIRES, "CONDITIONS": []},
        {"expiration": "tomorrow", "conditions": []},
        {"expiration": "2030-13-01T00:00:00Z", "conditions": []},
        {"expiration": 5, "conditions": []},
        {"expiration": EXPIRES, "conditions": [{}]},
        {"expiration": EXPIRES, "conditions": [[]]},
        {"expiration": EXPIRES, "conditions": [["eq", "$a"]]},
        {"expiration": EXPIRES, "conditions": [["eq", "a", "b"]]},
        {"expiration": EXPIRES, "conditions": [["eq", "$", "b"]]},
        {"expiration": EXPIRES, "conditions": [["eq", 5, "b"]]},
        {"expiration": EXPIRES, "conditions": [["like", "$a", "b"]]},
        {"expiration": EXPIRES, "conditions": [[5, "$a", "b"]]},
        {"expiration": EXPIRES, "conditions": [["content-length-range", 0]]},
        {"expiration": EXPIRES, "conditions": [["content-length-range", -1, 0]]},
        {"expiration": EXPIRES, "conditions": [["content-length-range", "a", 0]]},
        {"expiration": EXPIRES, "conditions": [["content-length-range", 0, "9" * 30]]},
        {"expiration": EXPIRES, "conditions": [{"a": None}]},
        {"expiration": EXPIRES, "conditions": [{"a": {"b": "c"}}]},
        {"expiration": EXPIRES, "conditions": [["eq", "$a", "b"]] * 1001},
        {"expiration": EXPIRES, "conditions": [{"a": "b" * 60_000}]},
    ],
)
def test_anything_else_is_no_policy(document: Any) -> None:
    with pytest.raises(PolicyMalformed):
        parse_policy(encoded(document))


@pytest.mark.parametrize("text", ["not base64!", "ä", "====", "YQ"])
def test_what_is_not_base64_is_no_policy(text: str) -> None:
    with pytest.raises(PolicyMalformed):
        parse_policy(text)


GOOD = (({"bucket": "b"}, ["starts-with", "$key", "user/"]), {"bucket": "b", "key": "user/a"})


def test_a_form_must_be_covered_and_covered_fields_must_fit() -> None:
    conditions, fields = GOOD
    check_form(policy(*conditions), fields, NOW)
    free = {"policy": "p", "signature": "s", "awsaccesskeyid": "a", "x-amz-signature": "x", "file": "f", "x-ignore-me": "i"}
    check_form(policy(*conditions), {**fields, **free}, NOW)
    for change in (
        {"bucket": "c"},
        {"key": "other/a"},
        {"key": "User/a"},
        {"acl": "public-read"},
        {"x-amz-meta-a": ""},
        {"success_action_status": "201"},
    ):
        with pytest.raises(PolicyViolated):
            check_form(policy(*conditions), {**fields, **change}, NOW)
    with pytest.raises(PolicyViolated, match="acl"):
        check_form(policy(*conditions, {"acl": "public-read"}), fields, NOW)
    check_form(policy(*conditions, ["starts-with", "$x-amz-meta-a", ""]), fields, NOW)


def test_an_expired_policy_allows_nothing() -> None:
    conditions, fields = GOOD
    with pytest.raises(PolicyViolated, match="expired"):
        check_form(policy(*conditions, expiration="2020-01-01T00:00:00Z"), fields, NOW)
    late = policy(*conditions)
    check_form(late, fields, late.expires_s - 1)
    with pytest.raises(PolicyViolated, match="expired"):
        check_form(late, fields, late.expires_s)


def test_every_type_of_a_list_must_be_allowed() -> None:
    allowed = policy(["starts-with", "$Content-Type", "image/"])
    check_form(allowed, {"content-type": "image/png, image/gif"}, NOW)
    with pytest.raises(PolicyViolated):
        check_form(allowed, {"content-type": "image/png,text/html"}, NOW)


def test_an_escaped_dollar_may_stand_for_one() -> None:
    for key in ("$foo", "\\$foo"):
        check_form(policy(["eq", "$key", "\\$foo"]), {"key": key}, NOW)
