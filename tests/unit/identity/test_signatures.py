"""Signatures that services pass on: right, old, unbound, and made up."""

import base64
import hmac
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Any

import pytest
from botocore.auth import HmacV1Auth, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from objstore.identity.signatures import decoded, ec2_request_is_signed, s3_string_is_signed

SECRET = "secret-key"
KEYS = Credentials("AK", SECRET)
HASH = sha256(b"").hexdigest()


def signed_v4(secret: str = SECRET, **headers: str) -> tuple[dict[str, Any], float]:
    """A request of EC2's API as a service tells of it, and when it was signed."""
    request = AWSRequest("POST", "http://ec2.test:8773/services?Action=x&B=a%20b", data=b"", headers={"Host": "ec2.test:8773", **headers})
    SigV4Auth(Credentials("AK", secret), "ec2", "us-east-1").add_auth(request)
    found = dict(request.headers.items())
    date = datetime.strptime(found["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    told = {
        "verb": "POST", "host": "ec2.test:8773", "path": "/services", "params": {"Action": "x", "B": "a b"}, "headers": found, "body_hash": HASH,
        "signature": found["Authorization"].rpartition("Signature=")[2],
    }  # fmt: skip
    return told, date


def test_version_4_as_clients_sign_it() -> None:
    told, date = signed_v4()
    assert ec2_request_is_signed(SECRET, told, date, 900)
    assert not ec2_request_is_signed("other", told, date, 900)
    assert not ec2_request_is_signed("", told, date, 900)
    assert not ec2_request_is_signed(SECRET, told, date + 901, 900)
    assert not ec2_request_is_signed(SECRET, told, date - 901, 900)


@pytest.mark.parametrize(
    "change",
    [
        {"verb": "GET"}, {"path": "/other"}, {"params": {"Action": "y", "B": "a b"}}, {"params": {}}, {"body_hash": sha256(b"x").hexdigest()},
        {"body_hash": ""}, {"signature": "0" * 64}, {"headers": {}}, {"headers": {"Authorization": "AWS4-HMAC-SHA256 x"}}, {"signature": None},
        {"params": []}, {"headers": 7}, {"verb": "x" * 100_000}, {"params": {"a": {}}},
    ],
)  # fmt: skip
def test_nothing_of_it_can_be_changed(change: dict[str, Any]) -> None:
    told, date = signed_v4()
    assert not ec2_request_is_signed(SECRET, {**told, **change}, date, 900)


def test_a_header_that_was_added_is_not_bound() -> None:
    told, date = signed_v4()
    assert not ec2_request_is_signed(SECRET, {**told, "headers": {**told["headers"], "x-amz-copy-source": "a/b"}}, date, 900)
    unbound = {**told["headers"], "Authorization": told["headers"]["Authorization"].replace("host;", "")}
    assert not ec2_request_is_signed(SECRET, {**told, "headers": unbound}, date, 900)


def test_version_2_as_clients_sign_it() -> None:
    params = {"SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Timestamp": "2026-11-23T01:02:03Z", "Action": "a b~"}
    query = "Action=a%20b~&SignatureMethod=HmacSHA256&SignatureVersion=2&Timestamp=2026-11-23T01%3A02%3A03Z"
    made = base64.b64encode(hmac.new(SECRET.encode(), f"GET\nec2.test\n/s\n{query}".encode(), sha256).digest()).decode()
    told = {"verb": "GET", "host": "ec2.test:8773", "path": "/s", "params": params, "signature": made}
    at = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC).timestamp()
    assert ec2_request_is_signed(SECRET, told, at, 900)
    assert not ec2_request_is_signed(SECRET, told, at + 1000, 900)
    for change in (
        {"SignatureMethod": "None"},
        {"Timestamp": ""},
        {"Timestamp": "9"},
        {"Expires": "2099-01-01T00:00:00Z"},
        {"SignatureVersion": "0"},
    ):
        assert not ec2_request_is_signed(SECRET, {**told, "params": {**params, **change}}, at, 900)


def test_strings_to_sign_of_s3_version_4() -> None:
    auth = S3SigV4Auth(KEYS, "s3", "us-east-1")
    request = AWSRequest("GET", "http://s3.test/b/k", headers={"Host": "s3.test"})
    auth.add_auth(request)
    date = request.headers["X-Amz-Date"]
    scope = f"{date[:8]}/us-east-1/s3/aws4_request"
    key = request.headers["Authorization"].rpartition("Signature=")[2]
    plain = AWSRequest("GET", "http://s3.test/b/k", headers={k: v for k, v in request.headers.items() if k != "Authorization"})
    plain.context["timestamp"] = date
    string = auth.string_to_sign(plain, auth.canonical_request(plain)).encode()
    at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    assert scope.encode() in string
    assert s3_string_is_signed(SECRET, string, key, at, 900)
    assert not s3_string_is_signed(SECRET, string + b"x", key, at, 900)
    assert not s3_string_is_signed(SECRET, string, key, at + 901, 900)
    assert not s3_string_is_signed(SECRET, string, "", at, 900)
    assert not s3_string_is_signed("", string, key, at, 900)


def test_strings_to_sign_of_s3_version_2() -> None:
    def sign(string: str) -> str:
        return base64.b64encode(hmac.new(SECRET.encode(), string.encode(), sha1).digest()).decode()

    at = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC).timestamp()
    dated = "GET\n\n\nMon, 23 Nov 2026 01:02:03 GMT\n/b/k"
    assert HmacV1Auth(KEYS).sign_string(dated) == sign(dated)
    header = "GET\n\n\n\nx-amz-date:Mon, 23 Nov 2026 01:02:03 GMT\n/b/k"
    expiring = f"GET\n\n\n{int(at) + 60}\n/b/k"
    for string in (dated, header, expiring):
        assert s3_string_is_signed(SECRET, string.encode(), sign(string), at, 900)
        assert not s3_string_is_signed(SECRET, string.encode(), sign(string), at + 1000, 900)
        assert not s3_string_is_signed("x", string.encode(), sign(string), at, 900)
    for string in ("", "x", "\n\n\n\n\n", f"GET\n\n\n{int(at) + 10**7}\n/b/k", "GET\n\n\n99999999999999999999\n/b/k", "GET\n\n\nnever\n/b"):
        assert not s3_string_is_signed(SECRET, string.encode(), sign(string), at, 900)
    assert not s3_string_is_signed(SECRET, b"\xff" * 100_000, "x", at, 900)


def test_both_alphabets_of_base64_are_read_and_nothing_else() -> None:
    assert decoded(base64.b64encode(b"\xff\xfe\xfd").decode()) == b"\xff\xfe\xfd"
    assert decoded(base64.urlsafe_b64encode(b"\xff\xfe\xfd").decode()) == b"\xff\xfe\xfd"
    assert decoded("%%%") is None
    assert decoded("é") is None
