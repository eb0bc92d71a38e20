"""CORS through boto3 and as a browser speaks."""

from typing import Any

import pytest

from tests.support.s3_raw import call, send
from tests.support.s3_server import Running

RULES: list[dict[str, Any]] = [
    {
        "ID": "app",
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://app.example", "https://*.app.example"],
        "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "ExposeHeaders": ["ETag", "x-amz-request-id"],
        "MaxAgeSeconds": 300,
    },
    {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
]


def rule(inner: str) -> bytes:
    return f"<CORSConfiguration><CORSRule>{inner}</CORSRule></CORSConfiguration>".encode()


GOOD = "<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"


def test_rules_come_back_as_they_were_set(s3: Any, bucket: str) -> None:
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    s3.delete_bucket_cors(Bucket=bucket)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"<CORSConfiguration/>", "MalformedXML"),
        (rule(""), "MalformedXML"),
        (rule("<AllowedMethod>GET</AllowedMethod>"), "MalformedXML"),
        (rule(GOOD + "<Other/>"), "MalformedXML"),
        (rule(GOOD + "<MaxAgeSeconds>x</MaxAgeSeconds>"), "MalformedXML"),
        (rule(GOOD + "<MaxAgeSeconds>-1</MaxAgeSeconds>"), "MalformedXML"),
        (rule(GOOD + f"<ID>{'i' * 256}</ID>"), "MalformedXML"),
        (b"<CORSConfiguration>" + rule(GOOD)[19:-20] * 101 + b"</CORSConfiguration>", "MalformedXML"),
        (rule("<AllowedMethod>PATCH</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"), "InvalidRequest"),
        (rule("<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*.*</AllowedOrigin>"), "InvalidRequest"),
        (rule("<AllowedMethod>GET</AllowedMethod><AllowedOrigin>a\nb</AllowedOrigin>"), "InvalidRequest"),
        (rule(GOOD + "<AllowedHeader>*a*</AllowedHeader>"), "InvalidRequest"),
        (rule(GOOD + "<ExposeHeader>x-*</ExposeHeader>"), "InvalidRequest"),
    ],
)
def test_rules_that_cannot_be_are_refused(server: Running, bucket: str, document: bytes, code: str) -> None:
    assert call(server, "PUT", f"/{bucket}?cors", document).code == code
    assert call(server, "GET", f"/{bucket}?cors").code == "NoSuchCORSConfiguration"


def test_a_preflight_is_answered_without_a_signature(server: Running, s3: Any, bucket: str) -> None:
    def preflight(origin: str, method: str, headers: str = "", path: str = f"/{bucket}/some%20key") -> Any:
        asked = {"Origin": origin, "Access-Control-Request-Method": method}
        return send(server, "OPTIONS", path, headers=asked | ({"Access-Control-Request-Headers": headers} if headers else {}))

    closed = preflight("https://app.example", "GET")
    assert (closed.status, closed.code, closed.value("ResourceType")) == (403, "AccessForbidden", "OBJECT")
    assert closed.value("Message") == "CORSResponse: CORS is not enabled for this bucket."
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    answer = preflight("https://x.app.example", "PUT", "X-Amz-Date, content-type")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://x.app.example"
    assert answer.headers["access-control-allow-methods"] == "GET, PUT"
    assert answer.headers["access-control-allow-headers"] == "x-amz-date, content-type"
    assert answer.headers["access-control-expose-headers"] == "ETag, x-amz-request-id"
    assert answer.headers["access-control-max-age"] == "300"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]
    assert preflight("https://else.example", "GET").headers["access-control-allow-origin"] == "*"
    for refused in (
        preflight("https://else.example", "PUT"),
        preflight("https://app.example", "DELETE"),
        preflight("https://app.example", "GET", "x-other"),
        preflight("https://app.example", "GET", ",".join(["x-amz-a"] * 101)),
    ):
        assert (refused.status, refused.code) == (403, "AccessForbidden")
        assert "access-control-allow-origin" not in refused.headers
    assert preflight("https://app.example", "GET", path="/no-such-bucket").code == "NoSuchBucket"
    assert send(server, "OPTIONS", f"/{bucket}").code == "BadRequest"
    assert send(server, "OPTIONS", f"/{bucket}", headers={"Origin": "https://app.example"}).code == "BadRequest"
    assert preflight("https://app.example", "PATCH").code == "BadRequest"
    assert preflight("https://app.example", "GET", path="/").code == "AccessForbidden"


def test_actual_answers_carry_the_headers_refusals_too(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"data")
    origin = {"Origin": "https://app.example"}
    assert "access-control-allow-origin" not in call(server, "GET", f"/{bucket}/k", headers=origin).headers
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    for answer in (
        call(server, "GET", f"/{bucket}/k", headers=origin),
        call(server, "GET", f"/{bucket}/missing", headers=origin),
        send(server, "GET", f"/{bucket}/k", headers=origin),
        call(server, "PUT", f"/{bucket}/k", b"other", origin),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-expose-headers"] == "ETag, x-amz-request-id"
    denied = call(server, "DELETE", f"/{bucket}/k", headers=origin)
    assert "access-control-allow-origin" not in denied.headers
    assert "Origin" in denied.headers["vary"]
    assert "vary" not in call(server, "GET", f"/{bucket}/k").headers
    assert call(server, "GET", "/no-such-bucket/k", headers=origin).code == "NoSuchBucket"
