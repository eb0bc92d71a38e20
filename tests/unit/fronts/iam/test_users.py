"""Users, keys and groups, as boto3 sees them."""

from collections.abc import Callable
from typing import Any

import pytest

from objstore.identity import entities
from tests.support.iam_server import service
from tests.support.policies import identity_policy, trust_policy
from tests.support.s3_server import ALICE, BOB, Running

Refused = Callable[..., tuple[str, int]]


def test_a_user_is_made_seen_changed_and_deleted(iam: Any, name: str, refused: Refused) -> None:
    made = iam.create_user(UserName=name, Path="/team/", Tags=[{"Key": "a", "Value": "1"}])["User"]
    assert (made["Arn"], made["Path"], made["Tags"]) == (f"arn:aws:iam::alice:user/team/{name}", "/team/", [{"Key": "a", "Value": "1"}])
    assert made["UserId"].startswith("AIDA")
    assert iam.get_user(UserName=name)["User"] == made
    assert iam.get_user(UserName=name.upper())["User"]["UserId"] == made["UserId"]
    assert refused(iam.create_user, UserName=name.upper()) == ("EntityAlreadyExists", 409)
    assert refused(iam.create_user, UserName="alice") == ("EntityAlreadyExists", 409)
    assert [found["UserName"] for found in iam.list_users(PathPrefix="/team/")["Users"]] == [name]
    iam.update_user(UserName=name, NewUserName=name + "x", NewPath="/other/")
    found = iam.get_user(UserName=name + "x")["User"]
    assert (found["UserId"], found["Path"]) == (made["UserId"], "/other/")
    assert refused(iam.get_user, UserName=name) == ("NoSuchEntity", 404)
    iam.delete_user(UserName=name + "x")
    assert refused(iam.delete_user, UserName=name + "x") == ("NoSuchEntity", 404)
    assert refused(iam.get_user, UserName=name + "x") == ("NoSuchEntity", 404)


def test_without_a_name_the_caller_is_meant(iam: Any, server: Running, user: str, keys: dict[str, str]) -> None:
    assert iam.get_user()["User"]["UserName"] == "alice"
    iam.put_user_policy(UserName=user, PolicyName="self", PolicyDocument=identity_policy("iam:GetUser", "iam:ListAccessKeys"))
    own = service(server, "iam", keys)
    assert own.get_user()["User"]["UserName"] == user
    assert [key["AccessKeyId"] for key in own.list_access_keys()["AccessKeyMetadata"]] == [keys["AccessKeyId"]]


def test_users_come_in_pages(iam: Any, name: str) -> None:
    made = [f"{name}-{number}" for number in range(5)]
    for each in made:
        iam.create_user(UserName=each, Path=f"/{name}/")
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix=f"/{name}/", PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [user["UserName"] for page in pages for user in page["Users"]] == made


@pytest.mark.parametrize("bad", ["a b", "a/b", "ü", "x" * 65])
def test_names_are_checked(iam: Any, bad: str, refused: Refused) -> None:
    assert refused(iam.create_user, UserName=bad)[0] == "ValidationError"


def test_groups_have_members(iam: Any, user: str, refused: Refused) -> None:
    group = f"group-of-{user}"
    made = iam.create_group(GroupName=group, Path="/g/")["Group"]
    assert made["Arn"] == f"arn:aws:iam::alice:group/g/{group}"
    assert made["GroupId"].startswith("AGPA")
    assert refused(iam.create_group, GroupName=group.upper()) == ("EntityAlreadyExists", 409)
    for _ in range(2):
        iam.add_user_to_group(GroupName=group, UserName=user)
    assert [found["UserName"] for found in iam.get_group(GroupName=group)["Users"]] == [user]
    assert [found["GroupName"] for found in iam.list_groups_for_user(UserName=user)["Groups"]] == [group]
    assert group in [found["GroupName"] for found in iam.list_groups()["Groups"]]
    assert refused(iam.delete_group, GroupName=group) == ("DeleteConflict", 409)
    assert refused(iam.delete_user, UserName=user) == ("DeleteConflict", 409)
    iam.update_group(GroupName=group, NewGroupName=group + "x")
    assert [found["GroupName"] for found in iam.list_groups_for_user(UserName=user)["Groups"]] == [group + "x"]
    iam.remove_user_from_group(GroupName=group + "x", UserName=user)
    assert refused(iam.remove_user_from_group, GroupName=group + "x", UserName=user) == ("NoSuchEntity", 404)
    iam.delete_group(GroupName=group + "x")
    assert refused(iam.get_group, GroupName=group + "x") == ("NoSuchEntity", 404)
    assert refused(iam.add_user_to_group, GroupName=group, UserName=user) == ("NoSuchEntity", 404)


def test_accounts_do_not_see_each_other(server: Running, iam: Any, user: str, refused: Refused) -> None:
    other = service(server, "iam", BOB)
    assert user not in [found["UserName"] for found in other.list_users()["Users"]]
    assert refused(other.get_user, UserName=user) == ("NoSuchEntity", 404)
    assert refused(other.create_access_key, UserName=user) == ("NoSuchEntity", 404)
    assert refused(other.put_user_policy, UserName="alice", PolicyName="p", PolicyDocument=identity_policy("*")) == ("NoSuchEntity", 404)
    other.create_user(UserName=user)  # the same name in another account
    other.delete_user(UserName=user)
    assert iam.get_user(UserName=user)["User"]["UserName"] == user


def test_users_of_the_identities_file_stay_and_only_their_equals_change_them(
    server: Running, iam: Any, user: str, keys: dict[str, str], refused: Refused
) -> None:
    assert refused(iam.delete_user, UserName="alice") == ("UnmodifiableEntity", 400)
    assert refused(iam.update_user, UserName="alice", NewUserName="x") == ("UnmodifiableEntity", 400)
    iam.attach_user_policy(UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    own = service(server, "iam", keys)
    own.create_user(UserName=user + "x")
    assert refused(own.create_access_key, UserName="alice") == ("AccessDenied", 403)
    assert refused(own.put_user_policy, UserName="alice", PolicyName="p", PolicyDocument=identity_policy("*", effect="Deny")) == (
        "AccessDenied",
        403,
    )
    iam.create_group(GroupName=user)
    assert refused(own.add_user_to_group, GroupName=user, UserName="alice") == ("AccessDenied", 403)
    more = iam.create_access_key(UserName="alice")["AccessKey"]
    assert service(server, "sts", more).get_caller_identity()["Arn"] == "arn:aws:iam::alice:user/alice"
    assert {key["AccessKeyId"] for key in iam.list_access_keys(UserName="alice")["AccessKeyMetadata"]} == {
        more["AccessKeyId"],
        ALICE.access_key,
    }
    iam.delete_access_key(UserName="alice", AccessKeyId=more["AccessKeyId"])


def test_the_account_is_summed_up(iam: Any, user: str) -> None:
    assert iam.get_account_summary()["SummaryMap"]["Users"] >= 2
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_an_account_has_so_many_users_groups_roles_and_policies_and_no_more(
    iam: Any, name: str, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every proxy holds all of them: without a limit one account could fill everybody's memory."""
    for kind in entities.MAX_OF_ACCOUNT:
        monkeypatch.setitem(entities.MAX_OF_ACCOUNT, kind, 0)
    trust = trust_policy("*")
    for call, parameters in (
        (iam.create_user, {"UserName": name}),
        (iam.create_group, {"GroupName": name}),
        (iam.create_role, {"RoleName": name, "AssumeRolePolicyDocument": trust}),
        (iam.create_policy, {"PolicyName": name, "PolicyDocument": identity_policy("s3:*")}),
        (iam.create_open_id_connect_provider, {"Url": "https://issuer.example", "ThumbprintList": []}),
    ):
        assert refused(call, **parameters) == ("LimitExceeded", 409)
