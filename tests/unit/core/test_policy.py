import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.core.policy import MAX_EFFORT, MAX_POLICY_BYTES, Ask, Caller, Effect, Kind, Naming, Policy, label, parse_policy
from objstore.errors import MalformedPolicy
from tests.support.sought import Sought

ALICE = Caller("alice", ("arn:aws:iam::alice:user/al",), "a" * 64)
BOB = Caller("bob", ("arn:aws:iam::bob:user/bo",), "b" * 64)
SESSION = Caller("alice", ("arn:aws:sts::alice:assumed-role/r/s", "arn:aws:iam::alice:role/r"))
NOBODY = Caller()
STATEMENT = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bkt/*"}


def policy(*statements: dict[str, Any], kind: Kind = Kind.BUCKET, version: str = "2012-10-17") -> Policy:
    return parse_policy(json.dumps({"Version": version, "Statement": list(statements)}).encode(), kind, bucket="bkt")


def one(**elements: Any) -> Policy:
    return policy({k: v for k, v in {**STATEMENT, **elements}.items() if v is not None})


def ask(caller: Caller = BOB, action: str = "s3:GetObject", resource: str = "arn:aws:s3:::bkt/k", **values: str) -> Ask:
    found = {name.replace("__", ":").replace("_", "-").lower(): [value] for name, value in values.items()}
    return Ask(caller, action, resource, found.get)


def test_nothing_is_said_about_what_no_statement_is_about() -> None:
    found = one()
    assert found.evaluate(ask()).effect is Effect.ALLOW
    assert found.evaluate(ask(action="s3:PutObject")).effect is None
    assert found.evaluate(ask(resource="arn:aws:s3:::bkt")).effect is None
    assert found.evaluate(ask(resource="arn:aws:s3:::bkt2/k")).effect is None


def test_a_deny_wins_wherever_it_stands() -> None:
    deny = {**STATEMENT, "Effect": "Deny", "Sid": "no"}
    for found in (policy(STATEMENT, deny), policy(deny, STATEMENT)):
        finding = found.evaluate(ask())
        assert finding.effect is Effect.DENY
        assert finding.statement is not None
        assert label(finding.statement, finding.number) == f'Deny "no" (statement {finding.number + 1})'


def test_actions_know_no_case_and_have_wildcards() -> None:
    assert one(Action=["S3:get*"]).evaluate(ask()).effect is Effect.ALLOW
    assert one(Action="*").evaluate(ask()).effect is Effect.ALLOW
    assert one(Action=None, NotAction="s3:Get*").evaluate(ask()).effect is None
    assert one(Action=None, NotAction="s3:Put*").evaluate(ask()).effect is Effect.ALLOW


def test_resources_know_case_and_may_be_inverted() -> None:
    assert one(Resource="arn:aws:s3:::bkt/K").evaluate(ask()).effect is None
    assert one(Resource=None, NotResource="arn:aws:s3:::bkt/k").evaluate(ask()).effect is None
    assert one(Resource=None, NotResource="arn:aws:s3:::bkt/j").evaluate(ask()).effect is Effect.ALLOW
    assert one(Resource="arn:aws:s3:::*").evaluate(ask()).effect is Effect.ALLOW


@pytest.mark.parametrize(
    ("principal", "caller", "naming"),
    [
        ("*", NOBODY, Naming.SELF),
        ({"AWS": "*"}, BOB, Naming.SELF),
        ({"AWS": "bob"}, BOB, Naming.ACCOUNT),
        ({"AWS": ["arn:aws:iam::bob:root"]}, BOB, Naming.ACCOUNT),
        ({"AWS": "arn:aws:iam::bob:user/bo"}, BOB, Naming.SELF),
        ({"AWS": "arn:aws:iam::bob:user/xx"}, BOB, Naming.NOT),
        ({"AWS": "arn:aws:iam::alice:role/r"}, SESSION, Naming.ROLE),
        ({"AWS": "arn:aws:sts::alice:assumed-role/r/s"}, SESSION, Naming.SELF),
        ({"CanonicalUser": "b" * 64}, BOB, Naming.ACCOUNT),
        ({"CanonicalUser": "b" * 64}, Caller(canonical_id="b" * 64), Naming.NOT),
        ({"CanonicalUser": "b" * 64}, ALICE, Naming.NOT),
        ({"AWS": ["alice", "bob"]}, NOBODY, Naming.NOT),
        ({"Service": "logging.s3.amazonaws.com"}, NOBODY, Naming.NOT),
        ({"Service": "logging.s3.amazonaws.com"}, Caller(service="logging.s3.amazonaws.com"), Naming.SELF),
        ({"Federated": "idp"}, Caller(federated="idp"), Naming.SELF),
    ],
)
def test_principals(principal: Any, caller: Caller, naming: Naming) -> None:
    assert one(Principal=principal).evaluate(ask(caller)).naming is naming


def test_the_closest_naming_counts() -> None:
    found = policy({**STATEMENT, "Principal": {"AWS": "bob"}}, STATEMENT)
    assert found.evaluate(ask()).naming is Naming.SELF


def test_all_but_some_are_denied() -> None:
    found = one(Effect="Deny", Principal=None, NotPrincipal={"AWS": "arn:aws:iam::bob:user/bo"})
    assert found.evaluate(ask(BOB)).effect is None
    assert found.evaluate(ask(ALICE)).effect is Effect.DENY
    assert found.evaluate(ask(NOBODY)).effect is Effect.DENY


@pytest.mark.parametrize(
    "account", [{"AWS": ["arn:aws:iam::alice:root"]}, {"AWS": ["alice"]}, {"CanonicalUser": "a" * 64, "AWS": ["arn:aws:iam::bob:user/bo"]}]
)
def test_an_account_among_exceptions_is_its_root_alone(account: dict[str, Any]) -> None:
    excepted = {**account, "AWS": [*account["AWS"], "arn:aws:iam::alice:user/al", "arn:aws:iam::alice:role/r"]}
    found = one(Effect="Deny", Principal=None, NotPrincipal=excepted)
    assert found.evaluate(ask(ALICE)).effect is None
    assert found.evaluate(ask(SESSION)).effect is None
    mallory = Caller("alice", ("arn:aws:iam::alice:user/mallory",), "a" * 64)
    assert found.evaluate(ask(mallory)).effect is Effect.DENY
    assert found.evaluate(ask(msgspec.structs.replace(mallory, is_account=True))).effect is None
    other = Caller("alice", ("arn:aws:sts::alice:assumed-role/q/s", "arn:aws:iam::alice:role/q"), "a" * 64)
    assert found.evaluate(ask(other)).effect is Effect.DENY


PATTERN = "*a" + "?" * (MAX_EFFORT - 2) + "b*"


@pytest.mark.parametrize(
    ("elements", "fits"),
    [
        ({"Resource": f"arn:aws:s3:::bkt/{PATTERN}"}, True),
        ({"Resource": [f"arn:aws:s3:::bkt/{PATTERN}", "arn:aws:s3:::bkt/*a?b*"]}, False),
        ({"Resource": None, "NotResource": f"arn:aws:s3:::bkt/*a?{PATTERN[2:]}"}, False),
        ({"Condition": {"StringLike": {"s3:prefix": [PATTERN], "aws:UserAgent": "*" + "?" * 2000 + "x*"}}}, True),
        ({"Condition": {"StringNotLikeIfExists": {"s3:prefix": [PATTERN, "*a?b*"]}}}, False),
        ({"Condition": {"ForAnyValue:ArnEquals": {"aws:PrincipalArn": [f"a:a:a:a:a:{PATTERN}", "a:a:a:a:a:*a?b*"]}}}, False),
        ({"Condition": {"StringEquals": {"s3:prefix": [PATTERN] * 3}}}, True),
        ({"Condition": {"StringLike": {"s3:prefix": ["${aws:username}?x"] * 3}}}, True),
        ({"Condition": {"StringLike": {"s3:prefix": ["${aws:username}?x"] * 4}}}, False),
    ],
)
def test_patterns_that_would_take_too_long_are_refused(elements: dict[str, Any], fits: bool) -> None:
    if fits:
        one(**elements)
    else:
        with pytest.raises(MalformedPolicy, match="Patterns with"):
            one(**elements)


def test_all_conditions_must_hold() -> None:
    found = one(Condition={"StringEquals": {"s3:prefix": "a", "s3:delimiter": "/"}, "Bool": {"aws:SecureTransport": True}})
    assert found.evaluate(ask(s3__prefix="a", s3__delimiter="/", aws__securetransport="true")).effect is Effect.ALLOW
    assert found.evaluate(ask(s3__prefix="a", s3__delimiter="/", aws__securetransport="false")).effect is None
    assert found.evaluate(ask(s3__prefix="a", aws__securetransport="true")).effect is None


def test_variables_in_resources_only_under_the_newer_version() -> None:
    statement = {**STATEMENT, "Resource": "arn:aws:s3:::bkt/${aws:username}/*"}
    asked = ask(resource="arn:aws:s3:::bkt/al/x", aws__username="al")
    assert policy(statement).evaluate(asked).effect is Effect.ALLOW
    assert policy(statement, version="2008-10-17").evaluate(asked).effect is None
    assert policy(statement).evaluate(ask(resource="arn:aws:s3:::bkt/al/x", aws__username="*")).effect is None
    assert policy(statement).evaluate(ask(resource="arn:aws:s3:::bkt/al/x")).effect is None


def test_policies_of_identities_have_no_principal_and_any_service() -> None:
    document = {"Statement": {"Effect": "Allow", "Action": ["sts:AssumeRole", "s3:*"], "Resource": "*"}}
    found = parse_policy(json.dumps(document).encode(), Kind.IDENTITY)
    assert found.evaluate(ask(action="sts:AssumeRole")).effect is Effect.ALLOW
    assert found.evaluate(ask(action="iam:GetUser")).effect is None
    with pytest.raises(MalformedPolicy):
        policy(STATEMENT, kind=Kind.IDENTITY)


def test_trust_policies_have_no_resource() -> None:
    statement = {"Effect": "Allow", "Principal": {"AWS": "alice"}, "Action": "sts:AssumeRole"}
    found = policy(statement, kind=Kind.TRUST)
    assert found.evaluate(ask(ALICE, "sts:AssumeRole", "")).naming is Naming.ACCOUNT
    with pytest.raises(MalformedPolicy):
        policy({**statement, "Resource": "*"}, kind=Kind.TRUST)


@pytest.mark.parametrize(
    ("statement", "public"),
    [
        (STATEMENT, True),
        ({**STATEMENT, "Principal": {"AWS": ["*"]}}, True),
        ({**STATEMENT, "Effect": "Deny"}, False),
        ({**STATEMENT, "Principal": {"AWS": "arn:aws:iam::s3tenant1:root"}}, False),
        ({**STATEMENT, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}}, False),
        ({**STATEMENT, "Condition": {"StringLike": {"aws:Referer": "x"}}}, True),
    ],
)
def test_which_policies_are_public(statement: dict[str, Any], public: bool) -> None:
    assert policy(statement).is_public is public


def test_explanations_name_what_fails() -> None:
    found = policy(
        {**STATEMENT, "Sid": "a", "Action": "s3:PutObject"},
        {**STATEMENT, "Resource": "arn:aws:s3:::bkt/other"},
        {**STATEMENT, "Principal": {"AWS": "alice"}},
        {**STATEMENT, "Condition": {"StringEquals": {"s3:prefix": "x"}}},
        {**STATEMENT, "Condition": {"StringEquals": {"s3:delimiter": "x"}}},
        STATEMENT,
    )
    lines = found.explain(ask(s3__prefix="y"))
    assert lines[0] == 'Allow "a" (statement 1): action s3:GetObject is not among s3:PutObject'
    assert lines[1].endswith("resource arn:aws:s3:::bkt/k is not among arn:aws:s3:::bkt/other")
    assert lines[2].endswith("it is not about this caller")
    assert lines[3].endswith("condition StringEquals s3:prefix fails: it is y, the policy says x")
    assert lines[4].endswith("s3:delimiter fails: it is not in the request, the policy says x")
    assert lines[5] == "Allow (statement 6): applies"


def test_whether_tags_are_asked_for_is_known_beforehand() -> None:
    assert one(Condition={"StringEquals": {"s3:ExistingObjectTag/a": "b"}}).reads_tags
    assert not one().reads_tags


MALFORMED = [
    (b"", "must be valid JSON"),
    (b"\xff", "invalid Json"),
    (b"[]", "first byte"),
    (b"{", "invalid Json"),
    (b'{"Statement": ' + b"[" * 9000, "invalid Json"),
    (b'{"Version": NaN}', "invalid Json"),
    (b'{"Statement": [], "Statement": []}', "invalid Json"),
    (b"{}", "Missing required field Statement"),
    (b'{"Statement": []}', "Statement is empty"),
    (b'{"Statement": [1]}', "must be an object"),
    (b'{"Version": "2020-01-01", "Statement": []}', "valid version string"),
    (b'{"Version": [], "Statement": []}', "valid version string"),
    (b'{"Id": 1, "Statement": []}', "Id must be"),
    (b'{"Foo": 1}', "Unknown field Foo"),
    (b" " * (MAX_POLICY_BYTES + 1), "maximum allowed document size"),
]


@pytest.mark.parametrize(("data", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_policy_is_refused_with_amazons_words(data: bytes, message: str) -> None:
    with pytest.raises(MalformedPolicy, match=message):
        parse_policy(data, Kind.BUCKET, bucket="bkt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Effect": None}, "Missing required field Effect"),
        ({"Effect": "allow"}, "Invalid effect"),
        ({"Effect": ["Allow"]}, "Invalid effect"),
        ({"Principal": None}, "Missing required field Principal"),
        ({"Principal": {"AWS": []}}, "cannot be empty"),
        ({"Principal": {}}, "Invalid principal"),
        ({"Principal": []}, "Invalid principal"),
        ({"Principal": "bob"}, "Invalid principal"),
        ({"Principal": {"Foo": "bob"}}, "Invalid principal"),
        ({"Principal": {"AWS": "arn:aws:iam::b:user/*"}}, "Invalid principal"),
        ({"Principal": {"AWS": "arn:aws:iam::b:group/g"}}, "Invalid principal"),
        ({"Principal": {"AWS": "arn:aws:s3:::b"}}, "Invalid principal"),
        ({"Principal": {"AWS": "a b"}}, "Invalid principal"),
        ({"Principal": {"AWS": 12}}, "must be a string"),
        ({"Principal": {"CanonicalUser": "<x>"}}, "Invalid principal"),
        ({"NotPrincipal": {"AWS": "bob"}}, "both Principal and NotPrincipal"),
        ({"Principal": None, "NotPrincipal": {"AWS": "bob"}}, "Allow with NotPrincipal"),
        ({"Action": None}, "Missing required field Action"),
        ({"Action": "GetObject"}, "invalid action"),
        ({"Action": "ec2:RunInstances"}, "invalid action"),
        ({"Action": "s3:${aws:x}"}, "invalid action"),
        ({"Action": []}, "cannot be empty"),
        ({"NotAction": "s3:*"}, "both Action and NotAction"),
        ({"Resource": None}, "Missing required field Resource"),
        ({"Resource": "*"}, "invalid resource"),
        ({"Resource": "arn:aws:s3:::other/*"}, "invalid resource"),
        ({"Resource": "arn:aws:s3:::"}, "invalid resource"),
        ({"Resource": "arn:aws:s3:::bkt/${x"}, "invalid resource"),
        ({"Resource": ["arn:aws:s3:::bkt", {}]}, "must be a string"),
        ({"Condition": {"Foo": {"aws:x": "y"}}}, "Invalid Condition type : Foo"),
        ({"Condition": {"StringEquals": {"s3:prefx": "y"}}}, "invalid condition key"),
        ({"Condition": {"StringEquals": {"s3:ExistingObjectTag/": "y"}}}, "invalid condition key"),
        ({"Condition": {"StringEquals": {"ec2:x": "y"}}}, "invalid condition key"),
        ({"Sid": 1}, "Sid must be"),
        ({"Foo": 1}, "Unknown field Foo"),
    ],
)
def test_a_bad_statement_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MalformedPolicy, match=message):
        one(**changes)


def test_sids_are_unique() -> None:
    with pytest.raises(MalformedPolicy, match="unique"):
        policy({**STATEMENT, "Sid": "a"}, {**STATEMENT, "Sid": "a"})


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["*", "Allow", "Deny", "s3:*", "${a", "arn:aws:s3:::bkt/*"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*STATEMENT, "Condition", "AWS", "StringLike", "aws:x"]), inner)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_any_document_is_parsed_or_refused(value: Any) -> None:
    for statement in (value, {**STATEMENT, "Condition": value}, {**STATEMENT, "Principal": value}):
        try:
            found = parse_policy(json.dumps({"Statement": statement}).encode(), Kind.BUCKET, bucket="bkt")
        except MalformedPolicy:
            continue
        found.evaluate(ask())


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    with pytest.raises(MalformedPolicy):
        parse_policy(data, Kind.BUCKET, bucket="bkt")


def test_the_worst_policy_of_20_kb_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sought = Sought(monkeypatch)
    patterns = [f"arn:aws:s3:::bkt/{number}*" + "*a" * 1000 + "b" for number in range(8)]
    found = one(Resource=patterns)
    for number in range(8):
        found.evaluate(ask(resource=f"arn:aws:s3:::bkt/{number}" + "a" * 1010 + "ab"))
    assert 0 < sought.times <= 8 * 8 * 1000, "a segment of a pattern is sought once for a question"
