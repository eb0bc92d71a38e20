"""Strict reading of configuration documents."""

import pytest

from objstore.errors import MalformedXml
from objstore.fronts.s3.documents import needed, one, only, text, texts, truth, whole
from objstore.fronts.s3.xml import Element, parse
from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running


def node(content: str) -> Element:
    return parse(f"<R>{content}</R>".encode(), "R")


def test_what_is_there_is_read() -> None:
    found = node("<A> 12 </A><B>true</B><C>x</C><C>y</C><D/>")
    assert whole(found, "A") == 12
    assert whole(node("<A>-3</A>"), "A") == -3
    assert truth(found, "B") is True
    assert texts(found, "C") == ("x", "y")
    assert needed(found, "D") == ""
    assert (text(found, "E"), whole(found, "E"), truth(found, "E"), one(found, "E")) == (None, None, None, None)
    only(found, "A", "B", "C", "D")


def test_what_no_schema_has_is_malformed() -> None:
    for wrong in (
        lambda: only(node("<A/><B/>"), "A"),
        lambda: one(node("<A/><A/>"), "A"),
        lambda: text(node("<A><B/></A>"), "A"),
        lambda: texts(node("<A><B/></A>"), "A"),
        lambda: needed(node(""), "A"),
        lambda: whole(node("<A>1.5</A>"), "A"),
        lambda: whole(node("<A>" + "9" * 19 + "</A>"), "A"),
        lambda: whole(node("<A>\u0663</A>"), "A"),
        lambda: truth(node("<A>yes</A>"), "A"),
    ):
        with pytest.raises(MalformedXml):
            wrong()


@pytest.mark.parametrize("name", ["cors", "tagging", "website", "encryption", "lifecycle"])
def test_every_configuration_is_refused_missed_and_removed_alike(server: Running, bucket: str, name: str) -> None:
    missing = call(server, "GET", f"/{bucket}?{name}")
    assert missing.status == 404
    assert missing.value("BucketName") == bucket
    assert call(server, "GET", f"/no-such-bucket?{name}").code == "NoSuchBucket"
    assert call(server, "PUT", f"/no-such-bucket?{name}", b"<x/>").code == "NoSuchBucket"
    assert call(server, "PUT", f"/{bucket}?{name}", b"<x/>", user=BOB).code == "AccessDenied"
    assert call(server, "PUT", f"/{bucket}?{name}").code == "MissingRequestBodyError"
    for odd in (b"<x/>", b"<", b"\xff", b"<!DOCTYPE a><a/>"):
        assert call(server, "PUT", f"/{bucket}?{name}", odd).code == "MalformedXML"
    assert call(server, "PUT", f"/{bucket}?{name}", b"<x>" + b" " * 1_100_000 + b"</x>").code == "MaxMessageLengthExceeded"
    assert call(server, "DELETE", f"/{bucket}?{name}").status == 204
    assert call(server, "DELETE", f"/{bucket}?{name}", user=BOB).code == "AccessDenied"
    assert call(server, "GET", f"/{bucket}?{name}").code == missing.code
