"""Who may do what: every rule by itself, on values."""

import json
from typing import Any

import pytest

from objstore.core import acl as lists
from objstore.core.acl import Ownership, PublicAccessBlock
from objstore.core.policy import Kind, Policy, parse_policy
from objstore.core.rows import BucketId, Row
from objstore.core.rows import Kind as RowKind
from objstore.core.timestamp import ZERO
from objstore.errors import AccessDenied, AclNotSupported
from objstore.objects import access
from objstore.objects.access import MISSING, OWNERS_ALONE, Action, Decision, Question, authorize, decide, gate_of, owner_of_new
from objstore.objects.actions import BY_BUCKET_LIST, BY_OBJECT_LIST, ON_OBJECT, WITHOUT_BUCKET
from objstore.objects.api import BucketInfo, Principal

OWNER = Principal(account="a", user="al", canonical_id="id-a")
ROOT = Principal(account="root", admin=True)
OTHER = Principal(account="b", user="bo", canonical_id="id-b")
NOBODY = Principal(account="", anonymous=True)
IN_BUCKETS = sorted(set(Action) - WITHOUT_BUCKET, key=lambda action: action.name)
ENFORCED = {"ownershipControls": b"BucketOwnerEnforced"}
WRITER = {"ownershipControls": b"ObjectWriter"}


def identity(*statements: dict[str, Any]) -> Policy:
    return parse_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}).encode(), Kind.IDENTITY)


def allowing(*actions: str, resource: str = "*", effect: str = "Allow", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": list(actions), "Resource": resource, **more}


def user(*policies: Policy, account: str = "a", **more: Any) -> Principal:
    return Principal(account=account, user="us", arn=f"arn:aws:iam::{account}:user/us", policies=tuple(policies), **more)


def bucket_policy(*statements: dict[str, Any]) -> bytes:
    found = [{"Effect": "Allow", "Principal": "*", "Resource": ["arn:aws:s3:::bkt", "arn:aws:s3:::bkt/*"], **item} for item in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": found}).encode()


def asked(who: Principal, action: Action, config: dict[str, bytes] | None = None, **question: Any) -> Decision:
    config = ENFORCED | (config or {})
    info = BucketInfo(id=BucketId(bytes(8)), name="bkt", account="a", created_us=0, config=config)
    question.setdefault("key", "k" if action in ON_OBJECT else "")
    return decide(who, info, gate_of("bkt", config), Question(action, **question))


def row(owner: str = "a", acl: bytes = b"", **fields: Any) -> Row:
    return Row(kind=RowKind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=owner, acl=acl, **fields)


# -- accounts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", IN_BUCKETS)
def test_the_account_and_admins_may_do_everything_and_nobody_else_anything(action: Action) -> None:
    assert asked(OWNER, action).allowed
    assert asked(ROOT, action).allowed
    for who in (OTHER, NOBODY, Principal(account=""), Principal(account="a", anonymous=True)):
        assert not asked(who, action).allowed


def test_a_bucket_with_nothing_set_has_no_gate() -> None:
    assert gate_of("bkt", ENFORCED) is None
    assert gate_of("bkt", ENFORCED | {"publicAccessBlock": lists.encode_block(lists.NO_BLOCK)}) is None
    assert gate_of("bkt", {}) is not None


def test_what_needs_no_bucket_needs_an_account_and_no_narrower_policy() -> None:
    for action in WITHOUT_BUCKET:
        authorize(OWNER, action, "bkt")
        authorize(user(identity(allowing("s3:*"))), action, "bkt")
        for who in (NOBODY, Principal(account=""), user(), user(identity(allowing("s3:*")), boundary=identity(allowing("s3:Get*")))):
            with pytest.raises(AccessDenied):
                authorize(who, action, "bkt")
    with pytest.raises(AccessDenied):
        authorize(user(identity(allowing("s3:CreateBucket", resource="arn:aws:s3:::mine-*"))), Action.CREATE_BUCKET, "theirs")
    elsewhere = {"StringNotEquals": {"s3:LocationConstraint": "eu"}}
    denied = user(identity(allowing("s3:*"), allowing("s3:CreateBucket", effect="Deny", Condition=elsewhere)))
    authorize(denied, Action.CREATE_BUCKET, "bkt", {"s3:locationconstraint": ("eu",)})
    with pytest.raises(AccessDenied):
        authorize(denied, Action.CREATE_BUCKET, "bkt", {"s3:locationconstraint": ("us",)})


# -- policies of the caller -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", IN_BUCKETS)
def test_a_user_with_policies_may_do_what_they_allow_and_no_more(action: Action) -> None:
    also = [access.ALSO[action].value] if action in access.ALSO else []
    assert asked(user(identity(allowing(action.value, *also))), action).allowed
    others = [other.value for other in IN_BUCKETS if other.value != action.value]
    assert not asked(user(identity(allowing(*others))), action).allowed
    assert not asked(user(), action).allowed


def test_a_deny_of_the_caller_wins_over_everything() -> None:
    who = user(identity(allowing("s3:*")), identity(allowing("s3:GetObject", effect="Deny", Sid="no")))
    decision = asked(who, Action.READ_OBJECT, {"policy": bucket_policy({"Action": "s3:GetObject"})})
    assert not decision.allowed
    assert decision.forbidden
    assert 'Deny "no"' in decision.reason


def test_boundaries_and_sessions_narrow_but_do_not_widen() -> None:
    everything, reading = identity(allowing("*")), identity(allowing("s3:GetObject"))
    for narrowed in (user(everything, boundary=reading), user(everything, session_policies=(reading,))):
        assert asked(narrowed, Action.READ_OBJECT).allowed
        assert not asked(narrowed, Action.WRITE_OBJECT).allowed
    for empty in (user(boundary=everything), user(session_policies=(everything,)), user(everything, session_policies=())):
        assert not asked(empty, Action.READ_OBJECT).allowed
    session_of_the_account = Principal(account="a", session_policies=(reading,))
    assert asked(session_of_the_account, Action.READ_OBJECT).allowed
    assert not asked(session_of_the_account, Action.WRITE_OBJECT).allowed
    narrowed_admin = Principal(account="root", admin=True, session_policies=(reading,))
    assert not asked(narrowed_admin, Action.WRITE_OBJECT).allowed


# -- policies of the bucket -----------------------------------------------------------------------------------


def test_another_account_needs_both_sides() -> None:
    opened = {"policy": bucket_policy({"Action": "s3:GetObject", "Principal": {"AWS": "arn:aws:iam::b:root"}})}
    reading, writing = identity(allowing("s3:GetObject")), identity(allowing("s3:PutObject"))
    assert asked(OTHER, Action.READ_OBJECT, opened).allowed
    assert asked(user(reading, account="b"), Action.READ_OBJECT, opened).allowed
    assert not asked(user(writing, account="b"), Action.READ_OBJECT, opened).allowed
    assert not asked(user(account="b"), Action.READ_OBJECT, opened).allowed
    assert not asked(user(reading, account="c"), Action.READ_OBJECT, opened).allowed
    assert not asked(OTHER, Action.WRITE_OBJECT, opened).allowed
    assert not asked(NOBODY, Action.READ_OBJECT, opened).allowed


def test_within_the_account_naming_a_user_is_enough_and_naming_the_account_is_not() -> None:
    named = {"policy": bucket_policy({"Action": "s3:GetObject", "Principal": {"AWS": "arn:aws:iam::a:user/us"}})}
    account = {"policy": bucket_policy({"Action": "s3:GetObject", "Principal": {"AWS": "a"}})}
    assert asked(user(), Action.READ_OBJECT, named).allowed
    assert not asked(user(), Action.READ_OBJECT, account).allowed
    assert asked(user(), Action.READ_OBJECT, {"policy": bucket_policy({"Action": "s3:GetObject"})}).allowed


def test_everybody_may_include_nobody_in_particular() -> None:
    assert asked(NOBODY, Action.READ_OBJECT, {"policy": bucket_policy({"Action": "s3:GetObject"})}).allowed
    assert not asked(NOBODY, Action.READ_VERSION, {"policy": bucket_policy({"Action": "s3:GetObject"})}).allowed


def test_a_deny_of_the_bucket_is_for_its_owner_too_but_never_locks_him_out() -> None:
    closed = {"policy": bucket_policy({"Action": "s3:*", "Effect": "Deny"})}
    assert not asked(OWNER, Action.READ_OBJECT, closed).allowed
    for action in (Action.READ_POLICY, Action.WRITE_POLICY, Action.DELETE_POLICY):
        assert asked(OWNER, action, closed).allowed
        assert not asked(user(identity(allowing("s3:*"))), action, closed).allowed
        assert not asked(OTHER, action, closed).allowed
    assert asked(ROOT, Action.READ_OBJECT, closed).allowed
    assert not asked(Principal(account="a", admin=True), Action.READ_OBJECT, closed).allowed  # his own policy, which he can take away


def test_a_policy_that_is_no_longer_understood_lets_nobody_in_but_the_account_mends_it() -> None:
    broken = {"policy": b"{}"}
    assert not asked(OWNER, Action.READ_OBJECT, broken).allowed
    assert asked(OWNER, Action.DELETE_POLICY, broken).allowed


def test_attributes_need_the_right_to_read_as_well() -> None:
    config = {"policy": bucket_policy({"Action": "s3:GetObjectAttributes"})}
    assert not asked(OTHER, Action.READ_ATTRIBUTES, config).allowed
    assert asked(OTHER, Action.READ_ATTRIBUTES, {"policy": bucket_policy({"Action": ["s3:GetObjectAttributes", "s3:GetObject"]})}).allowed


def test_tags_of_the_object_and_of_the_request_decide() -> None:
    config = {"policy": bucket_policy({"Action": "s3:*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/Level": "public"}}})}
    gate = gate_of("bkt", ENFORCED | config)
    assert access.needs_row(OTHER, gate, Action.READ_OBJECT)
    assert not access.needs_row(OTHER, gate, Action.WRITE_OBJECT)
    assert asked(OTHER, Action.READ_OBJECT, config, found=row(tags={"level": "public"})).allowed
    for found in (row(tags={"level": "private"}), row(), MISSING, None):
        assert not asked(OTHER, Action.READ_OBJECT, config, found=found).allowed
    tagging = identity(allowing("s3:PutObject", Condition={"StringEquals": {"s3:RequestObjectTag/a": "b"}}))
    assert asked(user(tagging), Action.WRITE_OBJECT, tags={"a": "b"}).allowed
    assert not asked(user(tagging), Action.WRITE_OBJECT).allowed
    by_tag = identity(allowing("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/a": "b"}}))
    assert access.needs_row(user(by_tag), None, Action.READ_OBJECT)
    assert not access.needs_row(user(tagging), None, Action.READ_OBJECT)


def test_restricted_buckets_are_closed_to_others_while_their_policy_is_public() -> None:
    block = {"publicAccessBlock": lists.encode_block(PublicAccessBlock(restrict=True))}
    public = {"policy": bucket_policy({"Action": "s3:GetObject"}, {"Action": "s3:PutObject", "Principal": {"AWS": "b"}})}
    assert not asked(NOBODY, Action.READ_OBJECT, public | block).allowed
    assert not asked(OTHER, Action.WRITE_OBJECT, public | block).allowed
    assert asked(user(), Action.READ_OBJECT, public | block).allowed
    closed = {"policy": bucket_policy({"Action": "s3:PutObject", "Principal": {"AWS": "b"}})}
    assert asked(OTHER, Action.WRITE_OBJECT, closed | block).allowed


# -- lists ----------------------------------------------------------------------------------------------------


def listed(name: str) -> dict[str, bytes]:
    return WRITER | {"acl": lists.encode_acl(lists.canned_acl(name))}


@pytest.mark.parametrize("action", IN_BUCKETS)
def test_lists_grant_what_they_are_for_and_nothing_else(action: Action) -> None:
    everything = WRITER | {"acl": lists.encode_acl(lists.acl_of([lists.Grant(lists.USER, "id-b", lists.Permission.FULL_CONTROL)]))}
    found = row(acl=everything["acl"]) if action in BY_OBJECT_LIST else None
    assert asked(OTHER, action, everything, found=found).allowed == (action in BY_BUCKET_LIST or action in BY_OBJECT_LIST)
    assert not asked(OTHER, action, ENFORCED | {"acl": everything["acl"]}, found=found).allowed
    assert not asked(OTHER, action, WRITER, found=row() if found else None).allowed


def test_public_lists_let_anybody_do_that_one_thing() -> None:
    assert asked(NOBODY, Action.LIST_OBJECTS, listed("public-read")).allowed
    assert not asked(NOBODY, Action.WRITE_OBJECT, listed("public-read")).allowed
    assert asked(NOBODY, Action.WRITE_OBJECT, listed("public-read-write")).allowed
    assert not asked(NOBODY, Action.LIST_OBJECTS, listed("authenticated-read")).allowed
    assert asked(OTHER, Action.LIST_OBJECTS, listed("authenticated-read")).allowed
    public = lists.encode_acl(lists.canned_acl("public-read"))
    assert asked(NOBODY, Action.READ_OBJECT, WRITER, found=row(acl=public)).allowed
    assert not asked(NOBODY, Action.READ_OBJECT, WRITER, found=row()).allowed
    assert not asked(NOBODY, Action.READ_OBJECT, listed("public-read"), found=row()).allowed
    ignored = {"publicAccessBlock": lists.encode_block(PublicAccessBlock(ignore_acls=True))}
    assert not asked(NOBODY, Action.LIST_OBJECTS, listed("public-read") | ignored).allowed
    assert not asked(NOBODY, Action.READ_OBJECT, WRITER | ignored, found=row(acl=public)).allowed


def test_a_policy_denies_what_a_list_grants() -> None:
    config = listed("authenticated-read") | {"policy": bucket_policy({"Action": "s3:ListBucket", "Effect": "Deny"})}
    assert not asked(OTHER, Action.LIST_OBJECTS, config).allowed


def test_what_others_own_in_a_bucket_is_theirs() -> None:
    theirs = row(owner="b")
    assert asked(OTHER, Action.READ_OBJECT, WRITER, found=theirs).allowed
    assert not asked(OWNER, Action.READ_OBJECT, WRITER, found=theirs).allowed
    assert asked(OWNER, Action.DELETE_OBJECT, WRITER, found=theirs).allowed
    shared = row(owner="b", acl=lists.encode_acl(lists.canned_acl("bucket-owner-read")))
    assert asked(OWNER, Action.READ_OBJECT, WRITER, found=shared).allowed
    assert not asked(OWNER, Action.WRITE_ACL, WRITER, found=shared).allowed
    opened = WRITER | {"policy": bucket_policy({"Action": "s3:GetObject"})}
    assert not asked(NOBODY, Action.READ_OBJECT, opened, found=theirs).allowed
    assert asked(NOBODY, Action.READ_OBJECT, opened, found=row()).allowed
    assert asked(OWNER, Action.READ_OBJECT, ENFORCED, found=theirs).allowed


def test_an_owner_can_take_rights_from_himself_and_give_them_back() -> None:
    nothing = WRITER | {"acl": lists.encode_acl(lists.acl_of([]))}
    assert not asked(OWNER, Action.WRITE_OBJECT, nothing).allowed
    assert asked(OWNER, Action.WRITE_BUCKET_ACL, nothing).allowed
    assert asked(OWNER, Action.READ_BUCKET_ACL, nothing).allowed
    bare = row(acl=nothing["acl"])
    assert not asked(OWNER, Action.READ_OBJECT, WRITER, found=bare).allowed
    assert asked(OWNER, Action.WRITE_ACL, WRITER, found=bare).allowed


# -- new objects ----------------------------------------------------------------------------------------------


def test_whose_a_new_object_is() -> None:
    full = lists.canned_acl("bucket-owner-full-control")
    preferred = gate_of("bkt", {"ownershipControls": b"BucketOwnerPreferred"})
    writer = gate_of("bkt", WRITER)
    assert owner_of_new(OTHER, "a", None, None) == ("a", b"")
    assert owner_of_new(OTHER, "a", writer, None) == ("b", b"")
    assert owner_of_new(OTHER, "a", preferred, None) == ("b", b"")
    assert owner_of_new(OTHER, "a", preferred, full) == ("a", lists.encode_acl(full))
    assert owner_of_new(OTHER, "a", writer, full) == ("b", lists.encode_acl(full))
    assert owner_of_new(NOBODY, "a", writer, None) == ("a", b"")
    for acl in OWNERS_ALONE:
        assert owner_of_new(OTHER, "a", None, acl) == ("a", b"")
    with pytest.raises(AclNotSupported):
        owner_of_new(OTHER, "a", None, lists.canned_acl("public-read"))
    blocked = gate_of("bkt", WRITER | {"publicAccessBlock": lists.encode_block(PublicAccessBlock(block_acls=True))})
    with pytest.raises(AccessDenied):
        owner_of_new(OTHER, "a", blocked, lists.canned_acl("public-read"))
    assert access.ownership_of({}) is Ownership.WRITER


# -- what refusals say ----------------------------------------------------------------------------------------


def test_only_the_own_account_is_told_why() -> None:
    for who, own, told in (
        (OWNER, True, "because secret reason"),
        (OTHER, False, "Ask the bucket's owner"),
        (NOBODY, False, "Sign the request"),
    ):
        refusal = access.denied(who, Action.READ_OBJECT, "arn:aws:s3:::bkt/k", "secret reason", own=own)
        hint = str(refusal.facts["hint"])
        assert told in hint
        assert ("secret reason" in hint) is own


def test_an_accounts_list_never_wins_over_a_denial_and_ends_at_its_account() -> None:
    bucket = BucketInfo(BucketId(bytes(16)), "photos", "alice", 0)
    for level, action, allowed in (
        ("read-only", Action.READ_OBJECT, True),
        ("read-only", Action.WRITE_OBJECT, False),
        ("read-write", Action.WRITE_OBJECT, True),
        ("read-write", Action.WRITE_METADATA, True),
        ("read-write", Action.WRITE_BUCKET_ACL, False),
        ("read-write", Action.WRITE_OWNERSHIP, False),
        ("read-write", Action.WRITE_POLICY, False),
        ("admin", Action.WRITE_POLICY, True),
    ):
        who = Principal(account="bob", user="b", policies=()).at("alice", level)
        assert decide(who, bucket, None, Question(action, "k")).allowed is allowed, (level, action)
        other = Principal(account="bob", user="b", policies=()).at("carol", level)
        assert not decide(other, bucket, None, Question(action, "k")).allowed
        denies = parse_policy(b'{"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}', Kind.IDENTITY)
        denied_one = Principal(account="bob", user="b", policies=(denies,)).at("alice", level)
        assert not decide(denied_one, bucket, None, Question(action, "k")).allowed


# -- who is meant ---------------------------------------------------------------------------------------------


def test_all_but_a_user_and_the_account_means_its_other_users_too() -> None:
    excepted = {"AWS": ["arn:aws:iam::a:user/us", "arn:aws:iam::a:root"]}
    statement = allowing("s3:*", resource="arn:aws:s3:::bkt/*", effect="Deny", NotPrincipal=excepted)
    config = {"policy": json.dumps({"Statement": statement}).encode()}
    everything = identity(allowing("*"))
    assert asked(user(everything), Action.READ_OBJECT, config).allowed
    assert asked(OWNER, Action.READ_OBJECT, config).allowed
    for more in ({"policies": (everything,)}, {"session_policies": (everything,)}, {"boundary": everything}):
        mallory = Principal(account="a", user="mallory", arn="arn:aws:iam::a:user/mallory", **more)
        assert not asked(mallory, Action.READ_OBJECT, config).allowed


def test_an_account_that_is_named_by_its_canonical_id_says_who_in_it_may() -> None:
    config = {"policy": bucket_policy(allowing("s3:GetObject", resource="arn:aws:s3:::bkt/*", Principal={"CanonicalUser": "id-a"}))}
    assert asked(OWNER, Action.READ_OBJECT, config).allowed
    assert not asked(user(canonical_id="id-a"), Action.READ_OBJECT, config).allowed
    assert asked(user(identity(allowing("s3:GetObject")), canonical_id="id-a"), Action.READ_OBJECT, config).allowed
