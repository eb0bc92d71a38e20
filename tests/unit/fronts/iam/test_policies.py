"""Inline and managed policies, boundaries, tags; and that they bind."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.iam_server import service
from tests.support.policies import identity_policy, trust_policy
from tests.support.s3_server import Running

Refused = Callable[..., tuple[str, int]]
READ = identity_policy("s3:GetObject", resource="arn:aws:s3:::alices/*")


@pytest.fixture(params=["user", "group", "role"])
def holder(request: pytest.FixtureRequest, iam: Any, name: str) -> tuple[str, dict[str, str]]:
    kind = request.param
    title = kind.capitalize()
    extra = {"AssumeRolePolicyDocument": trust_policy("*")} if kind == "role" else {}
    getattr(iam, f"create_{kind}")(**{f"{title}Name": name}, **extra)
    return kind, {f"{title}Name": name}


def test_inline_policies_are_kept_as_they_came(iam: Any, holder: tuple[str, dict[str, str]], refused: Refused) -> None:
    kind, who = holder

    def call(verb: str, suffix: str = "policy", **parameters: Any) -> Any:
        return getattr(iam, f"{verb}_{kind}_{suffix}")(**who, **parameters)

    call("put", PolicyName="one", PolicyDocument=READ)
    call("put", PolicyName="two", PolicyDocument=identity_policy("s3:*"))
    call("put", PolicyName="one", PolicyDocument=identity_policy("s3:List*"))
    assert call("list", "policies")["PolicyNames"] == ["one", "two"]
    assert call("get", PolicyName="one")["PolicyDocument"]["Statement"][0]["Action"] == ["s3:List*"]
    assert refused(getattr(iam, f"delete_{kind}"), **who) == ("DeleteConflict", 409)
    call("delete", PolicyName="one")
    for verb in ("get", "delete"):
        assert refused(lambda verb=verb: call(verb, PolicyName="one")) == ("NoSuchEntity", 404)
    call("delete", PolicyName="two")
    getattr(iam, f"delete_{kind}")(**who)
    assert refused(lambda: call("put", PolicyName="one", PolicyDocument=READ)) == ("NoSuchEntity", 404)
    assert refused(lambda: call("list", "policies")) == ("NoSuchEntity", 404)


@pytest.mark.parametrize(
    "document",
    [
        "x",
        "{}",
        '{"Version": "2012-10-17", "Statement": []}',
        '{"Version": "2010-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Maybe", "Action": "*", "Resource": "*"}]}',
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*"}]}',
    ],
)
def test_what_is_no_policy_is_refused(iam: Any, user: str, document: str, refused: Refused) -> None:
    assert refused(iam.put_user_policy, UserName=user, PolicyName="p", PolicyDocument=document) == ("MalformedPolicyDocument", 400)
    assert refused(iam.create_policy, PolicyName=user, PolicyDocument=document) == ("MalformedPolicyDocument", 400)
    assert iam.list_user_policies(UserName=user)["PolicyNames"] == []


def test_policies_have_a_limit(iam: Any, user: str, refused: Refused) -> None:
    long = identity_policy("s3:GetObject", resource=[f"arn:aws:s3:::bucket-{number}/*" for number in range(90)])
    assert refused(iam.put_user_policy, UserName=user, PolicyName="p", PolicyDocument=long) == ("LimitExceeded", 409)
    for number in range(9):
        try:
            iam.put_user_policy(
                UserName=user, PolicyName=f"p{number}", PolicyDocument=identity_policy("s3:GetObject", resource="arn:aws:s3:::" + "b" * 300)
            )
        except iam.exceptions.LimitExceededException:
            break
    assert 3 <= number <= 7


def test_managed_policies_are_attached_and_detached(iam: Any, holder: tuple[str, dict[str, str]], name: str, refused: Refused) -> None:
    kind, who = holder
    arn = iam.create_policy(PolicyName=name, PolicyDocument=READ, Path="/p/", Description="d")["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::alice:policy/p/{name}"
    assert refused(iam.create_policy, PolicyName=name.upper(), PolicyDocument=READ) == ("EntityAlreadyExists", 409)
    attach, detach = getattr(iam, f"attach_{kind}_policy"), getattr(iam, f"detach_{kind}_policy")
    listed = getattr(iam, f"list_attached_{kind}_policies")
    for _ in range(2):
        attach(**who, PolicyArn=arn)
    attach(**who, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    assert [policy["PolicyName"] for policy in listed(**who)["AttachedPolicies"]] == ["AmazonS3ReadOnlyAccess", name]
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    found = iam.list_entities_for_policy(PolicyArn=arn)
    assert [entity[f"{kind.capitalize()}Name"] for entity in found[f"Policy{kind.capitalize()}s"]] == [name]
    assert refused(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", 409)
    assert refused(getattr(iam, f"delete_{kind}"), **who) == ("DeleteConflict", 409)
    detach(**who, PolicyArn=arn)
    assert refused(detach, **who, PolicyArn=arn) == ("NoSuchEntity", 404)
    iam.delete_policy(PolicyArn=arn)
    assert refused(iam.get_policy, PolicyArn=arn) == ("NoSuchEntity", 404)
    assert refused(attach, **who, PolicyArn=arn) == ("NoSuchEntity", 404)


def test_built_in_policies_are_there_and_stay(iam: Any, user: str, refused: Refused) -> None:
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert arn in [policy["Arn"] for policy in iam.list_policies(Scope="AWS")["Policies"]]
    assert all(policy["Arn"].startswith("arn:aws:iam::alice:") for policy in iam.list_policies(Scope="Local")["Policies"])
    assert refused(iam.delete_policy, PolicyArn=arn) == ("AccessDenied", 403)
    assert refused(iam.create_policy_version, PolicyArn=arn, PolicyDocument=READ) == ("AccessDenied", 403)


def test_tags_are_set_and_taken_away(iam: Any, user: str, refused: Refused) -> None:
    iam.tag_user(UserName=user, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    iam.untag_user(UserName=user, TagKeys=["a", "zzz"])
    assert iam.list_user_tags(UserName=user)["Tags"] == [{"Key": "b", "Value": ""}]
    tags = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    assert refused(iam.tag_user, UserName=user, Tags=tags) == ("LimitExceeded", 409)


def test_iam_itself_is_authorised_by_policies(iam: Any, server: Running, user: str, keys: dict[str, str], refused: Refused) -> None:
    own = service(server, "iam", keys)
    assert refused(own.list_users) == ("AccessDenied", 403)
    assert refused(own.get_user) == ("AccessDenied", 403)
    document = identity_policy("iam:*", resource=f"arn:aws:iam::alice:user/team-{user}/*")
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    own.create_user(UserName=user + "x", Path=f"/team-{user}/")
    own.get_user(UserName=user + "x")
    assert refused(own.create_user, UserName=user + "y") == ("AccessDenied", 403)
    assert refused(own.get_user, UserName=user) == ("AccessDenied", 403)
    assert refused(own.put_user_policy, UserName=user, PolicyName="more", PolicyDocument=identity_policy("*")) == ("AccessDenied", 403)
    assert [found["UserName"] for found in own.list_users(PathPrefix=f"/team-{user}/")["Users"]] == [user + "x"]
