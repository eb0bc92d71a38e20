"""The table of errors is complete, and what it says is what a client gets."""

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from objstore import errors
from objstore.core.checksums import wrong_md5
from objstore.core.sigv4 import Problem, SignatureRefused
from objstore.fronts.s3.errors import SIGNATURE_TABLE, TABLE, Failure, S3Refused, error_document, failure_of
from objstore.fronts.s3.hints import HINTS

BASES = {errors.ObjstoreError, errors.Refused, errors.Unavailable, errors.Damaged}


def classes(kind: type[errors.ObjstoreError] = errors.ObjstoreError) -> Iterator[type[errors.ObjstoreError]]:
    for child in kind.__subclasses__():
        if child.__module__ == "objstore.errors":
            yield child
            yield from classes(child)


@pytest.mark.parametrize("kind", [kind for kind in classes() if kind not in BASES], ids=lambda kind: kind.__name__)
def test_every_error_has_a_row(kind: type[errors.ObjstoreError]) -> None:
    row = TABLE[kind]
    assert row.code
    assert 300 < row.status < 600
    if issubclass(kind, errors.Unavailable | errors.Damaged):
        assert row.status >= 500
        assert row.message, "what a node said is nobody else's business"


def test_every_problem_with_a_signature_has_a_row() -> None:
    assert set(SIGNATURE_TABLE) == set(Problem)


def test_unavailable_says_when_to_come_back_and_nothing_of_the_inside() -> None:
    failure = failure_of(errors.NodeUnreachable("cannot connect to tcp:10.0.0.1:6200"))
    assert (failure.status, failure.code) == (503, "ServiceUnavailable")
    assert (b"retry-after", b"1") in failure.headers
    assert "10.0.0.1" not in failure.message
    assert failure_of(errors.TooBusy()).code == "SlowDown"
    assert failure_of(errors.DamagedBody("file x")).message == TABLE[errors.DamagedBody].message


def test_facts_become_elements() -> None:
    assert failure_of(errors.PreconditionFailed("m", condition="If-Match")).elements == {"Condition": "If-Match"}
    assert failure_of(errors.NoSuchKey("m"), key="k").elements == {"Key": "k"}
    assert failure_of(errors.NoSuchKey("m", key="source"), key="k").elements == {"Key": "source"}
    assert failure_of(wrong_md5(b"a", b"b")).elements == {"ExpectedDigest": "YQ==", "CalculatedDigest": "Yg=="}
    assert failure_of(errors.BucketNotEmpty("m"), bucket="b").elements == {"BucketName": "b"}
    failure = failure_of(errors.InvalidRange("m", size_bytes=5))
    assert (failure.elements, failure.headers) == ({"ActualObjectSize": "5"}, [(b"content-range", b"bytes */5")])
    assert failure_of(errors.InvalidRange("m")).elements == {}
    small = errors.EntityTooSmall("m", size=4, min_size=5, number=1, etag="e")
    assert failure_of(small).elements == {"ProposedSize": "4", "MinSizeAllowed": "5", "PartNumber": "1", "ETag": "e"}
    assert failure_of(errors.NoSuchUpload("m", upload_id="u")).elements == {"UploadId": "u"}
    assert failure_of(errors.KeyTooLong("m", size=1025, limit=1024)).elements == {"Size": "1025", "MaxSizeAllowed": "1024"}
    assert failure_of(errors.InvalidArgument("m", argument="max-keys", value="x")).elements == {
        "ArgumentName": "max-keys",
        "ArgumentValue": "x",
    }
    assert failure_of(errors.InvalidArgument("m")).elements == {}
    region = SignatureRefused(Problem.WRONG_REGION, "m", region="eu")
    assert failure_of(region).elements == {"Region": "eu"}
    expired = failure_of(SignatureRefused(Problem.EXPIRED), server_time="now")
    assert expired.elements == {"ServerTime": "now"}
    told = failure_of(SignatureRefused(Problem.EXPIRED, expires_s=0), server_time="now")
    assert told.elements == {"Expires": "1970-01-01T00:00:00.000Z", "ServerTime": "now"}


def test_a_new_kind_of_error_falls_back_to_its_family() -> None:
    class Newer(errors.QuorumLost):
        """A child."""

    class Odd(errors.Unavailable):
        """Not in the table."""

    class Odder(errors.Damaged):
        """Not in the table."""

    assert failure_of(Newer()).code == "ServiceUnavailable"
    assert failure_of(Odd()).status == 503
    assert failure_of(Odder()).status == 500


def test_a_refusal_of_s3s_own_says_what_it_is() -> None:
    failure = failure_of(S3Refused(418, "Teapot", "short <and> stout", hint="pour", elements={"Handle": "here"}))
    document = error_document(failure, "/b/k&", "REQ", "HOST")
    root = ElementTree.fromstring(document)
    assert [(node.tag, node.text) for node in root] == [
        ("Code", "Teapot"),
        ("Message", "short <and> stout"),
        ("Handle", "here"),
        ("Resource", "/b/k&"),
        ("RequestId", "REQ"),
        ("HostId", "HOST"),
        ("Hint", "pour"),
    ]


def test_a_refusals_own_hint_goes_before_the_one_of_its_code() -> None:
    assert failure_of(errors.AccessDenied("m", hint="pour")).hint == "pour"
    assert failure_of(errors.AccessDenied("m")).hint == HINTS["AccessDenied"]
    assert failure_of(S3Refused(403, "AccessDenied", "m", hint="pour", headers=[(b"allow", b"GET")])).headers == [(b"allow", b"GET")]


def test_lines_of_an_element_stay_lines() -> None:
    document = error_document(Failure(403, "C", "m", elements={"CanonicalRequest": "GET\n/<\x01"}), "/", "R", "H")
    assert b"<CanonicalRequest>GET\n/&lt;&#x1;</CanonicalRequest>" in document
