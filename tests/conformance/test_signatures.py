"""10,000 random requests as botocore signs them, through the authenticator itself; and each of them with one thing changed."""

import asyncio
import http.client
import random
import string
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import HmacV1Auth, HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from objstore.core.sigv4 import STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, UNSIGNED_PAYLOAD
from objstore.errors import ObjstoreError
from objstore.fronts.s3 import routes
from objstore.fronts.s3.auth import Authenticator
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.identity.model import User
from objstore.runtime.clock import SystemClock
from tests.support.s3_server import s3_serving

REQUESTS = 10_000
USER = User("acc", "joe", "AK+/x", "se cret/+=")
HOST = "s3.example.com:9000"
TEXT = string.ascii_letters + string.digits + "-._~ /+%&=?#:;,@!$'()*[]{}|^`\"<>\\\täöüß日本語🙂"
NAMES = (
    "prefix",
    "marker",
    "acl",
    "uploads",
    "versionId",
    "partNumber",
    "response-content-type",
    "x",
    "X-ü",
    "a b",
    "tagging",
    "delimiter",
)


class Random:
    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def text(self, most: int) -> str:
        return "".join(self.dice.choice(TEXT) for _ in range(self.dice.randint(0, most)))

    def request(self) -> tuple[str, str, dict[str, str], bytes]:
        dice = self.dice
        key = quote(self.text(12), safe=dice.choice(["/~", "/~-._", "/-._~!$'()*,:@"]))
        query = []
        for name in dice.sample(NAMES, dice.choice([0, 0, 0, 1, 2, 3])):
            value = self.text(8)
            query.append(quote(name, safe="-_.~") + ("=" + quote(value, safe="-_.~") if value or dice.random() < 0.5 else ""))
        headers = {
            f"x-amz-meta-{dice.choice('abc')}{number}": " ".join(self.text(9).encode("ascii", "ignore").decode().split())
            for number in range(dice.choice([0, 0, 1, 2]))
        }
        if dice.random() < 0.3:
            headers["Content-Type"] = "text/plain; charset=x"
        path = f"http://{HOST}/bucket" + (f"/{key}" if dice.random() < 0.9 else "")
        return (
            dice.choice(["GET", "PUT", "HEAD", "DELETE", "POST"]),
            path + ("?" + "&".join(query) if query else ""),
            headers,
            dice.randbytes(dice.randint(0, 40)),
        )


def as_received(request: Any) -> dict[str, Any]:
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name.lower(): value if isinstance(value, str) else value.decode("latin-1") for name, value in prepared.headers.items()}
    headers.setdefault("host", parts.netloc)
    return {
        "type": "http", "method": request.method, "path": parts.path, "raw_path": parts.path.encode(), "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip


async def _no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def judge(authenticator: Authenticator, scope: dict[str, Any], body: bytes | None = None) -> str:
    """The user's name; "" for a refusal."""
    request = S3Request(scope, _no_body, "id")
    try:
        request.parse(scope, ())
        if body is not None:
            return asyncio.run(authenticator.authenticate_call(request, body)).user
        asyncio.run(authenticator.authenticate(request))
    except ObjstoreError:
        return ""
    return request.who.user


def changed(dice: random.Random, scope: dict[str, Any]) -> dict[str, Any]:
    """The same request with one thing changed that is signed."""
    kind = dice.choice(["method", "path", "query", "header"])
    if kind == "method":
        return {**scope, "method": {"GET": "PUT", "PUT": "GET"}.get(scope["method"], "GET")}
    if kind == "path":
        return {**scope, "raw_path": scope["raw_path"] + b"x"}
    if kind == "query":
        query = scope["query_string"]
        return {**scope, "query_string": query + (b"&" if query else b"") + b"retention"}
    return {**scope, "headers": [*scope["headers"], (b"x-amz-acl", b"public-read")]}


SIGNERS = {
    "header": lambda: S3SigV4Auth(Keys(USER.access_key, USER.secret_key), "s3", "us-east-1"),
    "query": lambda: S3SigV4QueryAuth(Keys(USER.access_key, USER.secret_key), "s3", "eu-1", expires=60),
    "call": lambda: SigV4Auth(Keys(USER.access_key, USER.secret_key), "iam", "us-east-1"),
    "v2-header": lambda: HmacV1Auth(Keys(USER.access_key, USER.secret_key)),
    "v2-query": lambda: HmacV1QueryAuth(Keys(USER.access_key, USER.secret_key), expires=60),
}


@pytest.mark.parametrize("name", SIGNERS)
def test_what_botocore_signs_is_let_in_and_what_was_changed_is_not(name: str) -> None:
    dice = Random(datetime(2026, 1, 1, tzinfo=UTC).toordinal())
    authenticator = Authenticator(Credentials([USER]), S3Settings(), SystemClock())
    for number in range(REQUESTS // len(SIGNERS)):
        method, url, headers, body = dice.request()
        if name == "call":
            url, method = f"http://{HOST}/", "POST"
        request = AWSRequest(method, url, data=b"" if name.endswith("query") else body, headers=headers)
        SIGNERS[name]().add_auth(request)
        scope = as_received(request)
        sent = body if name == "call" else None
        assert judge(authenticator, scope, sent) == "joe", (number, method, url, headers)
        bad = changed(dice.dice, scope)
        assert judge(authenticator, bad, sent) == "", (number, bad)
        if sent is not None:
            assert judge(authenticator, scope, body + b"x") == ""


# -- every route, every payload mode, every way to have no right -----------------------------------------------


MODES = ("", UNSIGNED_PAYLOAD, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER, "0" * 64, "NONSENSE")
FAKE = "AWS4-HMAC-SHA256 Credential=AKALICE/20260101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=" + "0" * 64
FAKE_V2 = "AWS AKALICE:" + "A" * 27 + "="
QUERY = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKALICE%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-Expires=600000&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
QUERY_V2 = f"AWSAccessKeyId=AKALICE&Expires=9999999999&Signature={'A' * 27}%3D"
CLAIMS = [("", ""), (FAKE, ""), (FAKE_V2, ""), ("", QUERY), ("", QUERY_V2), (FAKE, QUERY), (FAKE_V2, QUERY_V2), ("", f"{QUERY}&{QUERY_V2}")]


def test_no_route_lets_anybody_in_by_any_mode_and_any_false_signature() -> None:
    with s3_serving() as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="k", Body=b"hidden-content")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        found = [("/", method, "") for method in routes.SERVICE]
        found += [("/bucket", *key) for key in routes.BUCKET] + [("/bucket/k", *key) for key in routes.OBJECT]
        for path, method, name in found:
            for authorization, query in CLAIMS:
                for mode in MODES:
                    target = f"{path}?{'&'.join(item for item in (name and name + '=', query) if item)}"
                    headers = (
                        {"Content-Length": "0"}
                        | ({"Authorization": authorization} if authorization else {})
                        | ({"x-amz-content-sha256": mode} if mode else {})
                    )
                    connection.request(method, target, headers=headers)
                    answer = connection.getresponse()
                    assert b"hidden-content" not in answer.read()
                    assert 400 <= answer.status < 500, (method, target, headers, answer.status)
        connection.close()
        assert client.get_object(Bucket="bucket", Key="k")["Body"].read() == b"hidden-content"
