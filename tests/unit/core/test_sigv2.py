"""Signature Version 2: Amazon's own examples, and what must be signed."""

import pytest

from objstore.core.sigv2 import (
    Claim,
    canonical_resources,
    check_expiry,
    parse_authorization,
    parse_presigned,
    sign,
    strings_to_sign,
    verify,
)
from objstore.core.sigv4 import Problem, Received, SignatureRefused

# The keys and requests of Amazon's description, "Signing and authenticating REST requests".
ACCESS_KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
EXAMPLES = [
    ("GET", "/photos/puppy.jpg", "", {"date": "Tue, 27 Mar 2007 19:36:42 +0000"}, "bWq2s1WEIj+Ydj0vQ697zp+IXMU="),
    (
        "PUT",
        "/photos/puppy.jpg",
        "",
        {"content-type": "image/jpeg", "content-length": "94328", "date": "Tue, 27 Mar 2007 21:15:45 +0000"},
        "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
    ),
    ("GET", "/", "prefix=photos&max-keys=50&marker=puppy", {"date": "Tue, 27 Mar 2007 19:42:41 +0000"}, "htDYFYduRNen8P9ZfE/s9SuKy0U="),
    ("GET", "/", "acl", {"date": "Tue, 27 Mar 2007 19:44:46 +0000"}, "c2WLPFtWHVgbEmeEG93a4cG37dM="),
]


def amz_of(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("x-amz-")}


@pytest.mark.parametrize(("method", "path", "query", "headers", "signature"), EXAMPLES)
def test_amazons_examples_verify(method: str, path: str, query: str, headers: dict[str, str], signature: str) -> None:
    request = Received(method, path, query, headers)
    claim = parse_authorization(f"AWS {ACCESS_KEY}:{signature}")
    strings = strings_to_sign(request, amz_of(headers), claim, "johnsmith")
    verify(strings, claim, SECRET)
    with pytest.raises(SignatureRefused):
        verify(strings, claim, SECRET + "x")


def test_the_date_is_empty_beside_an_amazon_date() -> None:
    headers = {"date": "Tue, 27 Mar 2007 21:20:27 +0000", "x-amz-date": "Tue, 27 Mar 2007 21:20:26 +0000"}
    claim = parse_authorization(f"AWS {ACCESS_KEY}:9b2sXq0KfxsxHtdZkzx/9Ngqyh8=")
    request = Received("DELETE", "/johnsmith/photos/puppy.jpg", "", headers)
    [text] = strings_to_sign(request, amz_of(headers), claim)
    assert text == "DELETE\n\n\n\nx-amz-date:Tue, 27 Mar 2007 21:20:26 +0000\n/johnsmith/photos/puppy.jpg"


def test_sub_resources_are_signed_in_order_and_parameters_are_not() -> None:
    request = Received("GET", "/b/k", "versionId=3&acl&max-keys=5&response-expires=a%2Bb&Acl=1", {})
    assert canonical_resources(request)[0] == "/b/k?acl&response-expires=a+b&versionId=3"
    assert canonical_resources(Received("GET", "/k", "", {}), "b") == ["/b/k"]
    assert canonical_resources(Received("GET", "/b", "", {})) == ["/b", "/b/"]
    assert canonical_resources(Received("GET", "/b/a b%2f", "", {})) == ["/b/a b%2f", "/b/a%20b/"]


def test_an_encoded_name_of_a_sub_resource_is_signed_as_well() -> None:
    assert canonical_resources(Received("GET", "/b/k", "%61cl", {}))[0] != "/b/k"


@pytest.mark.parametrize(
    "header",
    ["AWS", "AWS ", "AWS a", "AWS a:", "AWS :c2ln", "AWS a:c2ln", "AWS a:" + "A" * 600, "AWS ä:" + "A" * 27 + "=", "AWS a:" + "=" * 28],
)
def test_malformed_headers_are_refused(header: str) -> None:
    with pytest.raises(SignatureRefused) as caught:
        parse_authorization(header)
    assert caught.value.problem is Problem.V2_HEADER_MALFORMED


@pytest.mark.parametrize("missing", ["AWSAccessKeyId", "Signature", "Expires"])
def test_a_presigned_request_is_whole(missing: str) -> None:
    fields = {"AWSAccessKeyId": "a", "Signature": "A" * 27 + "=", "Expires": "100"}
    claim = parse_presigned(list(fields.items()))
    assert claim.expires_s == 100
    check_expiry(claim, 100)
    with pytest.raises(SignatureRefused) as expired:
        check_expiry(claim, 101)
    assert expired.value.problem is Problem.EXPIRED
    for changed in (
        [item for item in fields.items() if item[0] != missing],
        [*fields.items(), (missing, fields[missing])],
        [*((name, value) for name, value in fields.items() if name != missing), (missing, "²\n")],
    ):
        with pytest.raises(SignatureRefused) as caught:
            parse_presigned(changed)
        assert caught.value.problem is Problem.V2_QUERY_MALFORMED


def test_headers_above_ascii_verify_as_they_are_and_as_characters() -> None:
    claim_text = "PUT\n\n\n\nx-amz-meta-a:\xc3\xbc\n/b/k"
    for encoding in ("latin-1", "utf-8"):
        verify([claim_text], Claim("a", sign("s", claim_text, encoding)), "s")
