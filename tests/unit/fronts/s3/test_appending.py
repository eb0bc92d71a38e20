from typing import Any

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import Running

OFFSET = "x-amz-write-offset-bytes"


def test_an_object_grows_at_its_end(server: Running, s3: Any, bucket: str) -> None:
    first = s3.put_object(Bucket=bucket, Key="log", Body=b"one ", WriteOffsetBytes=0, ContentType="text/plain")
    assert first["Size"] == 4
    second = s3.put_object(Bucket=bucket, Key="log", Body=b"two", WriteOffsetBytes=4)
    assert (second["Size"], second["ETag"] != first["ETag"]) == (7, True)
    found = s3.get_object(Bucket=bucket, Key="log", ChecksumMode="ENABLED")
    assert (found["Body"].read(), found["ContentType"], found["ETag"]) == (b"one two", "text/plain", second["ETag"])
    assert s3.get_object(Bucket=bucket, Key="log", Range="bytes=2-5")["Body"].read() == b"e tw"
    answer = call(server, "PUT", f"/{bucket}/log", b"x", {OFFSET: "4"})
    assert (answer.status, answer.code) == (400, "InvalidWriteOffset")
    assert s3.head_object(Bucket=bucket, Key="log")["ContentLength"] == 7


@pytest.mark.parametrize("value", ["-1", "", "x", "1" * 20, "٣"])
def test_offsets_that_are_none_are_refused(server: Running, bucket: str, value: str) -> None:
    headers = {OFFSET: value.encode().decode("latin-1")}
    assert call(server, "PUT", f"/{bucket}/k", b"x", headers).code == "InvalidArgument"


def test_what_an_append_cannot_do_is_refused(server: Running, bucket: str) -> None:
    assert call(server, "PUT", f"/{bucket}/k", b"x", {OFFSET: "0", "x-amz-object-lock-legal-hold": "ON"}).code == "InvalidRequest"
    sealed = {OFFSET: "0", "x-amz-server-side-encryption": "AES256"}
    assert call(server, "PUT", f"/{bucket}/k", b"x", sealed).status == 200
    more = call(server, "PUT", f"/{bucket}/k", b"x", {OFFSET: "1"})
    assert (more.status, more.headers["x-amz-server-side-encryption"]) == (200, "AES256")
    assert call(server, "PUT", f"/{bucket}/plain", b"x", {OFFSET: "0"}).status == 200
    assert call(server, "PUT", f"/{bucket}/plain", b"x", {**sealed, OFFSET: "1"}).code == "NotImplemented"
