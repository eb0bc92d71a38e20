"""Roles and providers of web identities, as boto3 sees them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.policies import identity_policy, trust_policy

Refused = Callable[..., tuple[str, int]]
TRUST = trust_policy({"AWS": "arn:aws:iam::alice:root"})


def test_a_role_is_made_seen_changed_and_deleted(iam: Any, name: str, refused: Refused) -> None:
    made = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=TRUST,
        Path="/r/",
        Description="d",
        MaxSessionDuration=7200,
        Tags=[{"Key": "a", "Value": "1"}],
    )
    role = made["Role"]
    assert (role["Arn"], role["MaxSessionDuration"], role["Description"]) == (f"arn:aws:iam::alice:role/r/{name}", 7200, "d")
    assert role["RoleId"].startswith("AROA")
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::alice:root"}
    assert iam.get_role(RoleName=name.upper())["Role"] == role
    assert refused(iam.create_role, RoleName=name.upper(), AssumeRolePolicyDocument=TRUST) == ("EntityAlreadyExists", 409)
    assert [found["RoleName"] for found in iam.list_roles(PathPrefix="/r/")["Roles"]] == [name]
    iam.update_role(RoleName=name, Description="e", MaxSessionDuration=3600)
    assert iam.update_role_description(RoleName=name, Description="f")["Role"]["Description"] == "f"
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust_policy("*"))
    iam.tag_role(RoleName=name, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName=name, TagKeys=["a"])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "b", "Value": "2"}]
    found = iam.get_role(RoleName=name)["Role"]
    assert (found["Description"], found["MaxSessionDuration"], found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]) == (
        "f",
        3600,
        "*",
    )
    iam.delete_role(RoleName=name)
    assert refused(iam.get_role, RoleName=name) == ("NoSuchEntity", 404)


@pytest.mark.parametrize(
    "document",
    [
        "x",
        "{}",
        identity_policy("sts:AssumeRole"),
        trust_policy("*", Resource="*"),
        trust_policy({"AWS": "arn:aws:s3:::x"}),
        trust_policy({"Who": "x"}),
    ],
)
def test_what_is_no_trust_policy_is_refused(iam: Any, name: str, document: str, refused: Refused) -> None:
    assert refused(iam.create_role, RoleName=name, AssumeRolePolicyDocument=document) == ("MalformedPolicyDocument", 400)


def test_sessions_have_limits(iam: Any, name: str, refused: Refused) -> None:
    for seconds in (3599, 43_201):
        assert refused(iam.create_role, RoleName=name, AssumeRolePolicyDocument=TRUST, MaxSessionDuration=seconds)[0] == "ValidationError"


def test_providers_come_and_go(iam: Any, name: str, refused: Refused) -> None:
    made = iam.create_open_id_connect_provider(Url=f"https://issuer.example/{name}", ClientIDList=["one"], ThumbprintList=["a" * 40])
    arn = made["OpenIDConnectProviderArn"]
    assert arn == f"arn:aws:iam::alice:oidc-provider/issuer.example/{name}"
    assert refused(iam.create_open_id_connect_provider, Url=f"https://issuer.example/{name}") == ("EntityAlreadyExists", 409)
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="two")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="one")
    iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=arn, ThumbprintList=["b" * 40])
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (f"issuer.example/{name}", ["two"], ["b" * 40])
    assert arn in [provider["Arn"] for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert refused(iam.get_open_id_connect_provider, OpenIDConnectProviderArn=arn) == ("NoSuchEntity", 404)
    assert refused(iam.create_open_id_connect_provider, Url="ftp://x")[0] == "ValidationError"
    assert refused(iam.create_open_id_connect_provider, Url="https://x.y", ThumbprintList=["z" * 39])[0] == "InvalidInput"


def test_an_address_without_tls_is_shown_as_such(iam: Any, name: str) -> None:
    arn = iam.create_open_id_connect_provider(Url=f"http://issuer.example/{name}")["OpenIDConnectProviderArn"]
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["Url"] == f"http://issuer.example/{name}"
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
