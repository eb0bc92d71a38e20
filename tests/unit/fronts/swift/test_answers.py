"""How refusals look."""

import pytest

from objstore import errors
from objstore.fronts.swift.answers import SwiftRefused, page, refusal, unauthorized


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NoSuchBucket("x"), 404), (errors.NoSuchKey("x"), 404), (errors.QuorumLost("x"), 503), (errors.BadDigest("x"), 422),
        (errors.QuotaExceeded("x"), 413), (errors.BucketNotEmpty("x"), 409), (errors.DamagedBody("x"), 500), (SwiftRefused(412, "no"), 412),
        (errors.InvalidRange("x", size_bytes=5), 416), (errors.NotImplementedHere("x"), 501), (errors.MalformedXml("x"), 400),
    ],
)  # fmt: skip
def test_each_error_has_its_status(error: errors.ObjstoreError, status: int) -> None:
    assert refusal(error, known=True, realm="AUTH_a").status == status


def test_who_is_not_known_is_asked_for_a_token_and_who_is_is_refused() -> None:
    assert refusal(errors.AccessDenied("x"), known=True, realm="a").status == 403
    answer = refusal(errors.AccessDenied("x"), known=False, realm='AUTH_a" evil\r\n')
    assert (answer.status, dict(answer.headers)[b"www-authenticate"]) == (401, b'Swift realm="AUTH_a__evil__"')
    assert dict(unauthorized("").headers)[b"www-authenticate"] == b'Swift realm="unknown"'


def test_what_nodes_say_stays_inside_and_markup_is_escaped() -> None:
    assert b"device 3" not in refusal(errors.QuorumLost("device 3 is gone"), known=True, realm="").body
    assert b"&lt;b&gt;" in page(400, "<b>").body
