from collections.abc import Sequence
from typing import Any

import pytest

from objstore.core.policy_conditions import parse_date
from objstore.core.rows import BucketId, Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidRequest
from objstore.objects.api import BucketInfo, Principal, RequestFacts
from objstore.objects.asked import Asked, arns_of, lock_facts


class Facts(RequestFacts):
    def __init__(self, headers: dict[str, str], parameters: dict[str, str], form_signature: str = "") -> None:
        self._headers, self._parameters, self._form_signature = headers, parameters, form_signature

    @property
    def form_signature(self) -> str:
        return self._form_signature

    @property
    def source_ip(self) -> str:
        return "10.0.0.1"

    @property
    def secure(self) -> bool:
        return True

    @property
    def now_us(self) -> int:
        return 1_767_225_600_000_000  # 2026-01-01

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def parameter(self, name: str) -> str | None:
        return self._parameters.get(name)


INFO = BucketInfo(id=BucketId(bytes(8)), name="b", account="owner", created_us=0, region="eu")
ROW = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, tags={"Level": "x"})


def value(key: str, headers: dict[str, str] | None = None, who: Principal | None = None, **more: Any) -> Sequence[str] | None:
    caller = who or Principal(account="a", user="u", canonical_id="id")
    parameters = more.pop("parameters", {})
    found = Asked(caller.of_request(Facts(headers or {}, parameters, more.pop("form_signature", ""))), INFO, row=ROW, **more)(key)
    return None if found is None else list(found)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("aws:sourceip", "10.0.0.1"),
        ("aws:securetransport", "true"),
        ("aws:useragent", "cli"),
        ("aws:referer", "http://x"),
        ("aws:currenttime", "2026-01-01T00:00:00Z"),
        ("aws:epochtime", "1767225600"),
        ("aws:principalarn", "arn:aws:iam::a:user/u"),
        ("aws:principalaccount", "a"),
        ("aws:principaltype", "User"),
        ("aws:userid", "id"),
        ("aws:username", "u"),
        ("aws:requestedregion", "eu"),
        ("aws:resourceaccount", "owner"),
        ("s3:resourceaccount", "owner"),
        ("s3:existingobjecttag/level", "x"),
        ("s3:requestobjecttag/a", "b"),
        ("s3:requestobjecttagkeys", "a"),
        ("s3:prefix", "p/"),
        ("s3:delimiter", "/"),
        ("s3:max-keys", "5"),
        ("s3:versionid", "v"),
        ("s3:x-amz-acl", "private"),
        ("s3:x-amz-copy-source", "src/k"),
        ("s3:x-amz-grant-read", "id=x"),
        ("s3:if-none-match", "*"),
        ("s3:tlsversion", "1.2"),
        ("s3:authtype", "REST-HEADER"),
        ("s3:signatureversion", "AWS4-HMAC-SHA256"),
        ("s3:signatureage", "60000"),
        ("s3:object-lock-mode", "GOVERNANCE"),
        ("s3:object-lock-remaining-retention-days", "10"),
        ("s3:object-lock-legal-hold", "ON"),
        ("s3:objectcreationoperation", "true"),
        ("s3:dataaccesspointarn", None),
        ("s3:existingobjecttag/other", None),
        ("aws:sourcevpc", None),
        ("saml:sub", None),
    ],
)
def test_condition_keys_have_their_values(key: str, expected: str | None) -> None:
    headers = {
        "user-agent": "cli", "referer": "http://x", "x-amz-acl": "private", "x-amz-copy-source": "/src/k?versionId=1", "x-amz-grant-read": "id=x",
        "if-none-match": "*", "authorization": "AWS4-HMAC-SHA256 x", "x-amz-date": "20251231T235900Z", "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2026-01-10T12:00:00Z", "x-amz-object-lock-legal-hold": "ON",
    }  # fmt: skip
    parameters = {"prefix": "p/", "delimiter": "/", "max-keys": "5"}
    given = {"s3:objectcreationoperation": ("true",)}
    found = value(key, headers, parameters=parameters, tags={"a": "b"}, version_id="v", given=given)
    assert found == (None if expected is None else [expected])


@pytest.mark.parametrize(
    "key", ["s3:x-amz-acl", "s3:prefix", "s3:versionid", "s3:object-lock-mode", "s3:object-lock-remaining-retention-days"]
)
def test_what_the_request_does_not_say_is_missing(key: str) -> None:
    assert value(key) is None


def test_presigned_requests_are_told_from_signed_ones() -> None:
    assert value("s3:authtype", parameters={"X-Amz-Signature": "x"}) == ["REST-QUERY-STRING"]
    assert value("s3:signatureversion", parameters={"Signature": "x"}) == ["AWS"]
    assert value("s3:signatureversion", {"authorization": "AWS k:s"}) == ["AWS"]
    assert value("s3:authtype") is None  # no signature brought it here
    for version in ("AWS", "AWS4-HMAC-SHA256"):
        assert value("s3:authtype", form_signature=version) == ["POST"]
        assert value("s3:signatureversion", form_signature=version) == [version]
    nobody = Principal(account="", anonymous=True)
    assert value("s3:authtype", who=nobody) is None
    assert value("s3:signatureage") is None


def test_anonymous_callers_are_nobody() -> None:
    nobody = Principal(account="", anonymous=True)
    assert value("aws:principaltype", who=nobody) == ["Anonymous"]
    assert value("aws:userid", who=nobody) == ["anonymous"]
    for key in ("aws:principalarn", "aws:username", "aws:principalaccount"):
        assert value(key, who=nobody) is None
    assert arns_of(nobody) == ()


def test_sessions_are_named_by_their_role_too() -> None:
    session = Principal(account="a", arn="arn:aws:sts::a:assumed-role/r/s", facts={"aws:principaltag/team": "x"})
    assert arns_of(session) == ("arn:aws:sts::a:assumed-role/r/s", "arn:aws:iam::a:role/r")
    assert value("aws:principalarn", who=session) == ["arn:aws:iam::a:role/r"]
    assert value("aws:username", who=session) is None
    assert value("aws:principaltag/team", who=session) == ["x"]
    in_a_path = Principal(account="a", arn="arn:aws:sts::a:assumed-role/r/s", facts={"aws:principalarn": "arn:aws:iam::a:role/p/r"})
    assert arns_of(in_a_path)[1] == "arn:aws:iam::a:role/p/r"


def test_what_the_operation_knows_goes_before_what_headers_say() -> None:
    given = {"s3:object-lock-mode": ("COMPLIANCE",), "s3:object-lock-retain-until-date": ("2026-01-02T00:00:00Z",)}
    assert value("s3:object-lock-mode", {"x-amz-object-lock-mode": "GOVERNANCE"}, given=given) == ["COMPLIANCE"]
    assert value("s3:object-lock-remaining-retention-days", given=given) == ["1"]
    assert value("s3:prefix", prefix="key", parameters={"prefix": "other"}) == ["key"]


@pytest.mark.parametrize(
    ("header", "text", "shown"),
    [
        ("if-none-match", "*", "*"),
        ("if-none-match", " * ", "*"),
        *[("if-none-match", text, None) for text in ("", '"nothing"', '"*"', "*,*", '*, "x"', "W/*", "d41d8cd98f00b204e9800998ecf8427e")],
        ("if-match", '"d41d8cd98f00b204e9800998ecf8427e-2"', '"d41d8cd98f00b204e9800998ecf8427e-2"'),
        ("if-match", "d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e"),
        *[("if-match", text, None) for text in ("", "*", '"*"', '""', '"a","b"', "a b", 'W/"a"')],
    ],
)
def test_conditions_of_writes_are_shown_where_they_are_some(header: str, text: str, shown: str | None) -> None:
    assert value(f"s3:{header}", {header: text}) == (None if shown is None else [shown])


@pytest.mark.parametrize("until_us", [4_070_908_800_000_000, 4_070_908_800_000_001, 1])
def test_a_retention_is_told_as_it_will_be_kept(until_us: int) -> None:
    given = lock_facts("COMPLIANCE", until_us)
    found = value("s3:object-lock-retain-until-date", {"x-amz-object-lock-retain-until-date": "2026-01-10T12:00:00Z"}, given=given)
    assert found is not None
    assert parse_date(found[0]) == pytest.approx(until_us / 1e6, abs=1e-6)
    days = value("s3:object-lock-remaining-retention-days", given=given)
    assert days == [str(max(-(-(until_us - 1_767_225_600_000_000) // 86_400_000_000), 0))]


def test_values_that_would_take_patterns_too_long_are_refused() -> None:
    assert value("aws:useragent", {"user-agent": "x" * 2048}) == ["x" * 2048]
    for key, header in (
        ("aws:useragent", "user-agent"),
        ("aws:referer", "referer"),
        ("s3:x-amz-metadata-directive", "x-amz-metadata-directive"),
    ):
        with pytest.raises(InvalidRequest):
            value(key, {header: "x" * 2049})
    with pytest.raises(InvalidRequest):
        value("s3:x-amz-copy-source", {"x-amz-copy-source": "b/" + "x" * 2048})
    with pytest.raises(InvalidRequest):
        value("s3:delimiter", parameters={"delimiter": "x" * 2049})
    assert value("s3:x-amz-grant-read", {"x-amz-grant-read": "x" * 8192})
