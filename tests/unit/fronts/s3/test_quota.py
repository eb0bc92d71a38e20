"""The quota of a bucket as a document, and its refusal."""

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running

TARGET = "?x-objstore-quota"


def document(inner: str) -> bytes:
    return f"<QuotaConfiguration>{inner}</QuotaConfiguration>".encode()


def test_a_quota_is_set_shown_obeyed_and_taken_away(server: Running, bucket: str) -> None:
    path = f"/{bucket}{TARGET}"
    assert call(server, "GET", path).code == "NoSuchQuotaConfiguration"
    assert call(server, "PUT", path, document("<MaxBytes>10</MaxBytes><MaxObjects>2</MaxObjects>")).status == 200
    shown = call(server, "GET", path)
    assert (shown.value("MaxBytes"), shown.value("MaxObjects")) == ("10", "2")
    assert call(server, "PUT", f"/{bucket}/a", b"12345678").status == 200
    refused = call(server, "PUT", f"/{bucket}/b", b"12345678")
    assert (refused.status, refused.code) == (403, "QuotaExceeded")
    assert call(server, "PUT", path, document("<MaxObjects>5</MaxObjects>"), user=BOB).code == "AccessDenied"
    assert call(server, "DELETE", path).status == 204
    assert call(server, "PUT", f"/{bucket}/b", b"12345678").status == 200


@pytest.mark.parametrize(
    ("inner", "code"),
    [("", "MalformedXML"), ("<MaxBytes>x</MaxBytes>", "MalformedXML"), ("<Other/>", "MalformedXML"), ("<MaxObjects>-1</MaxObjects>", "InvalidArgument")],
)  # fmt: skip
def test_quotas_that_cannot_be_are_refused(server: Running, bucket: str, inner: str, code: str) -> None:
    assert call(server, "PUT", f"/{bucket}{TARGET}", document(inner)).code == code
