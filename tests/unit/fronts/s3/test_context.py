"""What handlers share."""

from typing import Any

from objstore.fronts.s3.context import empty_answer, xml_answer
from tests.support.s3_raw import call
from tests.support.s3_server import Running


def test_answers_are_documents_or_empty() -> None:
    answer = xml_answer("Root", "<A/>", [(b"x", b"y")])
    assert answer.headers == [(b"content-type", b"application/xml"), (b"x", b"y")]
    assert bytes(answer.body).endswith(b"<A/></Root>")
    assert (empty_answer(204).status, empty_answer(204).body) == (204, b"")


def test_documents_have_a_size(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    tags = b"<Tagging><TagSet>" + b" " * (1 << 20) + b"</TagSet></Tagging>"
    assert call(server, "PUT", f"/{bucket}/k?tagging", tags).code == "MaxMessageLengthExceeded"
    assert call(server, "PUT", f"/{bucket}/k?tagging", b"").code == "MalformedXML"


def test_a_completion_may_be_larger_than_other_documents(server: Running, s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    body = f"<CompleteMultipartUpload>{' ' * (2 << 20)}<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    assert call(server, "POST", f"/{bucket}/k?uploadId={upload}", body.encode()).status == 200
