"""Who may make which call of IAM, for every call there is: the list is that of the application, so a new call is asked at once.

Each is asked by nobody, by a user without rights, by one who lacks this right alone, by one who has it for something else, and by one
who has just it.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from objstore.fronts.iam.app import ACTIONS
from tests.support.policies import identity_policy, trust_policy
from tests.support.s3_raw import Answer, call, send
from tests.support.s3_server import Running
from tests.support.s3_server import User as S3User

NOBODYS = "arn:aws:iam::alice:user/somebody-else"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def parameters(name: str) -> dict[str, str]:
    """What makes any call well-formed; nothing of it is there, so that none does harm."""
    return {
        "UserName": f"{name}-x", "GroupName": f"{name}-x", "RoleName": f"{name}-x", "PolicyName": f"{name}-x", "NewUserName": f"{name}-y",
        "NewGroupName": f"{name}-y", "PolicyDocument": identity_policy("s3:*"), "AssumeRolePolicyDocument": trust_policy("*"),
        "PolicyArn": f"arn:aws:iam::alice:policy/{name}-x", "PermissionsBoundary": f"arn:aws:iam::alice:policy/{name}-x",
        "OpenIDConnectProviderArn": f"arn:aws:iam::alice:oidc-provider/{name}.example", "Url": f"https://{name}.example", "ClientID": "c",
        "AccessKeyId": "AKIAXXXXXXXXXXXXXXXX", "Status": "Inactive", "VersionId": "v1", "Tags.member.1.Key": "k", "Tags.member.1.Value": "v",
        "TagKeys.member.1": "k",
    }  # fmt: skip


@pytest.fixture
def ask(server: Running, name: str, keys: dict[str, str]) -> Callable[[str], Answer]:
    probe = S3User("alice", name, keys["AccessKeyId"], keys["SecretAccessKey"])

    def made(action: str) -> Answer:
        body = urlencode({"Action": action, **parameters(name)}).encode()
        return call(server, "POST", "/", body, FORM, user=probe, service="iam")

    return made


def denied(answer: Answer) -> bool:
    return (answer.status, answer.value("Code")) == (403, "AccessDenied")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_call_serves_who_has_the_right_and_nobody_else(
    iam: Any, server: Running, name: str, ask: Callable[[str], Answer], action: str
) -> None:
    def limit(*statements: dict[str, Any]) -> None:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    anonymous = send(server, "POST", "/", urlencode({"Action": action, **parameters(name)}).encode(), FORM)
    assert (anonymous.status, anonymous.value("Code")) == (403, "MissingAuthenticationToken")
    assert denied(ask(action)), "without any right"
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    limit(everything, {"Effect": "Deny", "Action": f"iam:{action}", "Resource": "*"})
    assert denied(ask(action)), "all but this right"
    limit({"Effect": "Allow", "Action": "s3:*", "Resource": "*"}, {"Effect": "Allow", "Action": f"iam:{action}", "Resource": NOBODYS})
    assert denied(ask(action)), "the right to something else"
    limit({"Effect": "Allow", "Action": f"iam:{action}", "Resource": "*"})
    answer = ask(action)
    assert not denied(answer), answer
    assert answer.status < 500
