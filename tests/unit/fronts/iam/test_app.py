"""The query API as such: forms, signatures, errors."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.fronts.iam import app, sts
from tests.support.iam_server import iam_serving, service
from tests.support.memory_cluster import MemoryCluster
from tests.support.policies import trust_policy
from tests.support.s3_raw import Answer, send
from tests.support.s3_server import ALICE, Running, make_certificate

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


def signed(server: Running, body: bytes, name: str = "iam", headers: dict[str, str] | None = None) -> dict[str, str]:
    request = AWSRequest("POST", server.url + "/", data=body, headers={**FORM, **(headers or {})})
    SigV4Auth(Credentials(ALICE.access_key, ALICE.secret_key), name, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def ask(server: Running, body: bytes, name: str = "iam") -> Answer:
    return send(server, "POST", "/", body, signed(server, body, name))


def code_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.value("Code")


def test_answers_and_refusals_are_documents_with_the_requests_id(server: Running) -> None:
    good = ask(server, b"Action=ListUsers&Version=2010-05-08")
    assert (good.status, good.headers["content-type"]) == (200, "text/xml")
    assert b'<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult>' in good.body
    assert good.value("RequestId") == good.headers["x-amz-request-id"]
    bad = ask(server, b"Action=GetUser&UserName=nobody")
    assert (code_of(bad), bad.value("Type")) == ((404, "NoSuchEntity"), "Sender")
    assert bad.value("RequestId") == bad.headers["x-amz-request-id"]
    assert b"https://sts.amazonaws.com/doc/2011-06-15/" in ask(server, b"Action=GetCallerIdentity", "sts").body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", (400, "InvalidAction")),
        (b"Action=", (400, "InvalidAction")),
        (b"Action=NoSuchCall", (400, "InvalidAction")),
        (b"Action=ListUsers&Action=DeleteUser", (400, "MalformedQueryString")),
        (b"Action=GetUser&UserName=%ff", (400, "MalformedQueryString")),
        (b"Action=GetUser&UserName=a%00b", (400, "ValidationError")),
        (b"Action=CreateUser", (400, "ValidationError")),
        (b"Action=ListUsers&MaxItems=0", (400, "ValidationError")),
        (b"Action=ListUsers&MaxItems=many", (400, "ValidationError")),
        (b"Action=ListUsers&MaxItems=" + b"9" * 5000, (400, "ValidationError")),
        (b"Action=CreateUser&UserName=" + b"x" * 200_000, (400, "ValidationError")),
        (b"&".join(b"p%d=1" % n for n in range(3000)), (400, "ValidationError")),
        (b"Action=CreateUser&UserName=x&Tags.member.1.Key=a&Tags.member.2.Key=a", (400, "InvalidInput")),
    ],
)
def test_odd_forms_are_refused(server: Running, body: bytes, code: tuple[int, str]) -> None:
    assert code_of(ask(server, body)) == code


def test_a_form_that_is_too_large_is_refused(server: Running) -> None:
    assert ask(server, b"Action=ListUsers&x=" + b"x" * 300_000).status == 400


def test_every_call_needs_a_signature_of_its_own_service(server: Running) -> None:
    for action in (*app.ACTIONS, *sts.ACTIONS):
        body = f"Action={action}&RoleArn={quote('arn:aws:iam::alice:role/none')}&RoleSessionName=xx&WebIdentityToken=a.b.c.d".encode()
        answer = send(server, "POST", "/", body, FORM)
        assert answer.status == 403, (action, answer.body)
        assert send(server, "POST", "/", body, signed(server, body, "s3")).status in (400, 403)
    body = b"Action=ListUsers"
    headers = signed(server, body)
    assert code_of(send(server, "POST", "/", b"Action=ListRoles", headers)) == (403, "SignatureDoesNotMatch")
    assert code_of(send(server, "POST", "/", body, {**headers, "x-amz-more": "1"}))[0] == 403
    assert code_of(send(server, "POST", "/?X-Amz-Algorithm=x", body, headers))[0] == 400
    assert code_of(send(server, "POST", "/", body, {**FORM, "Authorization": "AWS a:b"}))[0] == 400


def test_a_call_can_be_presigned(server: Running) -> None:
    request = AWSRequest("GET", server.url + "/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(Credentials(ALICE.access_key, ALICE.secret_key), "sts", "us-east-1", expires=60).add_auth(request)
    path = str(request.url).removeprefix(server.url)
    assert send(server, "GET", path).value("Arn") == "arn:aws:iam::alice:user/alice"
    assert code_of(send(server, "GET", path.replace("GetCallerIdentity", "GetSessionToken"))) == (403, "SignatureDoesNotMatch")


def test_s3_is_still_there_beside_it(server: Running, s3: Any) -> None:
    assert "alices" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert send(server, "GET", "/").code == "AccessDenied"


CALL = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.mark.parametrize(
    ("method", "target", "kind", "expected"),
    [
        ("POST", "/", "text/xml", (200, "")),
        ("POST", "/?x=1", "text/xml", (200, "")),
        ("GET", "/?Action=NoSuchCall", "text/xml", (400, "InvalidAction")),
        ("GET", "/?action=GetCallerIdentity", "application/xml", (200, "")),  # the list of buckets, for parameters' names have cases
        ("POST", "//", "application/xml", (400, "InvalidURI")),
        ("POST", "//?Action=GetCallerIdentity", "application/xml", (400, "InvalidURI")),
        ("POST", "//alices", "application/xml", (400, "InvalidURI")),
        ("POST", "/alices", "application/xml", (412, "PreconditionFailed")),
        ("POST", "/alices/", "application/xml", (412, "PreconditionFailed")),
        ("POST", "/alices/?Action=GetCallerIdentity", "application/xml", (412, "PreconditionFailed")),
        ("POST", "/alices?delete", "application/xml", (400, "InvalidRequest")),  # no digest of its body
        ("POST", "/alices/key", "application/xml", (405, "MethodNotAllowed")),
        ("POST", "/%2F", "application/xml", (412, "PreconditionFailed")),
        ("PUT", "/?Action=GetCallerIdentity", "application/xml", (405, "MethodNotAllowed")),
        ("DELETE", "/", "application/xml", (405, "MethodNotAllowed")),
    ],
)
def test_only_forms_at_the_root_are_calls(server: Running, method: str, target: str, kind: str, expected: tuple[int, str]) -> None:
    request = AWSRequest(method, server.url + target, data=CALL if method == "POST" else b"", headers=FORM)
    name = "sts" if kind == "text/xml" else "s3"
    signer = SigV4Auth if name == "sts" else S3SigV4Auth
    signer(Credentials(ALICE.access_key, ALICE.secret_key), name, "us-east-1").add_auth(request)
    if target.startswith("//"):
        request.headers["Authorization"] = "nobody looks at it"
    answer = send(server, method, target, CALL if method == "POST" else b"", dict(request.headers.items()))
    assert (code_of(answer), answer.headers["content-type"]) == (expected, kind)


def test_calls_are_counted_by_their_names(server: Running) -> None:
    before = server.app.app.counters.snapshot().requests.get(("GetCallerIdentity", "200"), 0)
    ask(server, b"Action=GetCallerIdentity", "sts")
    assert server.app.app.counters.snapshot().requests[("GetCallerIdentity", "200")] == before + 1


def test_what_one_proxy_changes_the_others_answer_at_once(refused: Callable[..., tuple[str, int]]) -> None:
    from objstore.runtime.clock import SystemClock

    cluster = MemoryCluster(clock=SystemClock())  # type: ignore[arg-type] # any Clock does
    with iam_serving(cluster=cluster) as one:
        iam = service(one, "iam")
        iam.create_user(UserName="joe")
        keys = iam.create_access_key(UserName="joe")["AccessKey"]
        assert service(one, "sts", keys).get_caller_identity()["Arn"] == "arn:aws:iam::alice:user/joe"
    with iam_serving(cluster=cluster) as two:  # started anew: nothing but the records remains
        assert service(two, "sts", keys).get_caller_identity()["Arn"] == "arn:aws:iam::alice:user/joe"
        service(two, "iam").update_access_key(UserName="joe", AccessKeyId=keys["AccessKeyId"], Status="Inactive")
        assert refused(service(two, "sts", keys).get_caller_identity) == ("InvalidClientTokenId", 403)


def test_calls_work_over_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    with iam_serving(tls=make_certificate(tmp_path_factory.mktemp("tls"))) as secure:
        iam = service(secure, "iam")
        iam.create_user(UserName="joe")
        assert [user["UserName"] for user in iam.list_users()["Users"]] == ["alice", "joe"]


def test_a_proxy_that_has_only_begun_knows_sessions_of_roles() -> None:
    from objstore.runtime.clock import SystemClock

    cluster = MemoryCluster(clock=SystemClock())  # type: ignore[arg-type] # any Clock does
    with iam_serving(cluster=cluster) as one:
        trust = trust_policy({"AWS": "arn:aws:iam::alice:root"})
        role = service(one, "iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        with iam_serving(cluster=MemoryCluster(cluster.registers, clock=SystemClock(), proxy_id=2)) as two:  # type: ignore[arg-type] # the same
            service(two, "iam").list_roles()
            keys = service(one, "sts").assume_role(RoleArn=role, RoleSessionName="work")["Credentials"]
            for proxy in (one, two):
                assert service(proxy, "sts", keys).get_caller_identity()["Arn"].endswith(":assumed-role/r/work")
    with iam_serving(cluster=cluster) as three:
        assert service(three, "sts", keys).get_caller_identity()["Arn"].endswith(":assumed-role/r/work")
