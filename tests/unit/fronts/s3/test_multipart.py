"""Multipart uploads through boto3, over HTTP and TLS; the server's smallest part is 100 bytes here."""

import io
import os
from hashlib import md5
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_raw import call, send
from tests.support.s3_server import BOB, Running, s3_serving

PARTS = [os.urandom(70_000), os.urandom(150_000), os.urandom(10)]
WHOLE = b"".join(PARTS)
ETAG = f'"{md5(b"".join(md5(part).digest() for part in PARTS)).hexdigest()}-3"'


def code_of(operation: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def begin(s3: Any, bucket: str, key: str = "k", **arguments: Any) -> dict[str, Any]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **arguments)
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


def upload_all(s3: Any, where: dict[str, Any], **arguments: Any) -> list[dict[str, Any]]:
    listed = []
    for number, part in enumerate(PARTS, 1):
        answer = s3.upload_part(**where, PartNumber=number, Body=part, **arguments)
        listed.append(
            {
                "PartNumber": number,
                **{k: v for k, v in answer.items() if k == "ETag" or k.startswith("ChecksumCRC") or k.startswith("ChecksumSHA")},
            }
        )
    return listed


def test_parts_become_an_object(either: Running) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="parts")
    where = begin(s3, "parts", Metadata={"a": "b"}, ContentType="text/plain", Tagging="t=1")
    parts = upload_all(s3, where)
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert (done["ETag"], done["Bucket"], done["Key"]) == (ETAG, "parts", "k")
    assert done["Location"] == f"{either.url}/parts/k"
    got = s3.get_object(Bucket="parts", Key="k")
    assert got["Body"].read() == WHOLE
    assert (got["ETag"], got["Metadata"], got["ContentType"], got["TagCount"]) == (ETAG, {"a": "b"}, "text/plain", 1)
    again = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert again["ETag"] == ETAG


def test_single_parts_can_be_read(s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": upload_all(s3, where)})
    for number, part in enumerate(PARTS, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (got["Body"].read(), got["PartsCount"], got["ResponseMetadata"]["HTTPStatusCode"]) == (part, 3, 206)
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number)
        assert (head["ContentLength"], head["PartsCount"]) == (len(part), 3)
    assert code_of(s3.get_object, Bucket=bucket, Key="k", PartNumber=4)[0] in (400, 416)
    assert code_of(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == (400, "InvalidRequest")
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={len(PARTS[0]) - 5}-{len(PARTS[0]) + 4}")
    assert got["Body"].read() == WHOLE[len(PARTS[0]) - 5 : len(PARTS[0]) + 5]
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "ETag"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 3


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")],
)
def test_checksums_of_parts_make_the_objects(either: Running, algorithm: str, kind: str) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="partsums")
    where = begin(s3, "partsums", algorithm, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    parts = upload_all(s3, where, ChecksumAlgorithm=algorithm)
    assert all(f"Checksum{algorithm}" in part for part in parts)
    listed = s3.list_parts(**where)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    assert [part[f"Checksum{algorithm}"] for part in listed["Parts"]] == [part[f"Checksum{algorithm}"] for part in parts]
    done = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    value = done[f"Checksum{algorithm}"]
    assert done["ChecksumType"] == kind
    assert value.endswith("-3") is (kind == "COMPOSITE")
    head = s3.head_object(Bucket="partsums", Key=algorithm, ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (value, kind)
    if kind == "FULL_OBJECT":
        assert s3.put_object(Bucket="partsums", Key="whole", Body=WHOLE, ChecksumAlgorithm=algorithm)[f"Checksum{algorithm}"] == value


def test_completions_are_checked(server: Running, s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    parts = upload_all(s3, where)

    def complete(listed: list[dict[str, Any]], **arguments: Any) -> tuple[int, str]:
        return code_of(s3.complete_multipart_upload, **where, MultipartUpload={"Parts": listed}, **arguments)

    assert complete([]) == (400, "MalformedXML")
    assert complete([parts[1], parts[0]]) == (400, "InvalidPartOrder")
    assert complete([{**parts[0], "ETag": '"0"'}]) == (400, "InvalidPart")
    assert complete([parts[0], {**parts[1], "PartNumber": 9}]) == (400, "InvalidPart")
    assert complete(parts, MpuObjectSize=5) == (400, "InvalidRequest")
    assert complete(parts, ChecksumType="COMPOSITE") == (400, "InvalidRequest")
    s3.upload_part(**where, PartNumber=4, Body=b"x")
    assert complete([*parts, {"PartNumber": 4, "ETag": md5(b"x").hexdigest()}]) == (400, "EntityTooSmall")
    path = f"/{bucket}/k?uploadId={where['UploadId']}"
    lines = [*parts, {"PartNumber": 4, "ETag": md5(b"x").hexdigest()}]
    listed = "".join(f"<Part><PartNumber>{line['PartNumber']}</PartNumber><ETag>{line['ETag']}</ETag></Part>" for line in lines)
    small = call(server, "POST", path, f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode())
    assert (small.value("PartNumber"), small.value("MinSizeAllowed")) == ("3", "100")
    for body in (
        b"", b"<x/>", b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload>" + b"<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>" * 10_001 + b"</CompleteMultipartUpload>",
    ):  # fmt: skip
        assert call(server, "POST", path, body).code == "MalformedXML"
    zero = b"<CompleteMultipartUpload><Part><PartNumber>0</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
    assert call(server, "POST", path, zero).code == "InvalidArgument"
    assert call(server, "POST", path, zero, {"x-amz-mp-object-size": "x"}).code == "InvalidArgument"
    assert s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, MpuObjectSize=len(WHOLE))["ETag"] == ETAG


def test_completions_can_be_conditional(s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    parts = upload_all(s3, where)
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    listed = {"Parts": parts}
    assert code_of(s3.complete_multipart_upload, **where, MultipartUpload=listed, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert code_of(s3.complete_multipart_upload, **where, MultipartUpload=listed, IfMatch='"x"') == (412, "PreconditionFailed")
    assert s3.complete_multipart_upload(**where, MultipartUpload=listed, IfMatch=old["ETag"])["ETag"] == ETAG


def test_uploads_end_by_abort(s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    upload_all(s3, where)
    s3.abort_multipart_upload(**where)
    assert code_of(s3.abort_multipart_upload, **where) == (404, "NoSuchUpload")
    assert code_of(s3.upload_part, **where, PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    assert code_of(s3.list_parts, **where) == (404, "NoSuchUpload")
    assert code_of(s3.complete_multipart_upload, **where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}) == (
        404,
        "NoSuchUpload",
    )


def test_part_numbers_have_bounds(server: Running, s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    for odd in ("0", "10001", "x", "-1", "", "1e1", "%D9%A3"):
        answer = call(server, "PUT", f"/{bucket}/k?uploadId={where['UploadId']}&partNumber={odd}", b"x")
        assert (answer.status, answer.code) == (400, "InvalidArgument"), odd
    assert call(server, "PUT", f"/{bucket}/k?uploadId={where['UploadId']}", b"x").code == "InvalidArgument"
    s3.upload_part(**where, PartNumber=10_000, Body=b"x")
    assert call(server, "GET", f"/{bucket}/k?partNumber=0").code == "InvalidArgument"
    assert call(server, "PUT", f"/{bucket}/k", b"x").status == 200
    beyond = call(server, "GET", f"/{bucket}/k?partNumber=2")
    assert (beyond.status, beyond.code, beyond.value("PartNumberRequested"), beyond.value("ActualPartCount")) == (
        416,
        "InvalidPartNumber",
        "2",
        "1",
    )
    assert call(server, "HEAD", f"/{bucket}/k?partNumber=2").status == 416


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    where = begin(s3, bucket)
    upload_all(s3, where)
    first = s3.list_parts(**where, MaxParts=2)
    assert ([part["PartNumber"] for part in first["Parts"]], first["IsTruncated"], first["NextPartNumberMarker"]) == ([1, 2], True, 2)
    assert (first["Initiator"]["DisplayName"], first["Owner"]["DisplayName"], first["StorageClass"]) == ("alice", "alice", "STANDARD")
    rest = s3.list_parts(**where, PartNumberMarker=2)
    assert ([part["Size"] for part in rest["Parts"]], rest["IsTruncated"]) == ([10], False)
    assert rest["Parts"][0]["ETag"] == f'"{md5(PARTS[2]).hexdigest()}"'


def test_uploads_are_listed_in_pages(server: Running, s3: Any, bucket: str) -> None:
    made = [begin(s3, bucket, key) for key in ("a", "a", "b/1", "b/2", "c<>")]
    page = s3.list_multipart_uploads(Bucket=bucket)
    assert [(found["Key"], found["UploadId"]) for found in page["Uploads"]] == [(where["Key"], where["UploadId"]) for where in made]
    assert page["Uploads"][0]["Initiator"]["DisplayName"] == "alice"
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [found["UploadId"] for page in pages for found in page["Uploads"]] == [where["UploadId"] for where in made]
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", Prefix="b")
    assert [found["Prefix"] for found in grouped["CommonPrefixes"]] == ["b/"]
    assert call(server, "GET", f"/{bucket}?uploads&max-uploads=x").code == "InvalidArgument"


def test_parts_can_be_copied(server: Running, s3: Any, bucket: str) -> None:
    source = s3.put_object(Bucket=bucket, Key="src/ü ?versionId=x", Body=WHOLE)
    where = begin(s3, bucket)
    copied = s3.upload_part_copy(
        **where, PartNumber=1, CopySource={"Bucket": bucket, "Key": "src/ü ?versionId=x"}, CopySourceRange="bytes=0-999"
    )
    assert copied["CopyPartResult"]["ETag"] == f'"{md5(WHOLE[:1000]).hexdigest()}"'
    rest = s3.upload_part_copy(
        **where, PartNumber=2, CopySource={"Bucket": bucket, "Key": "src/ü ?versionId=x"}, CopySourceIfMatch=source["ETag"]
    )
    done = s3.complete_multipart_upload(
        **where,
        MultipartUpload={"Parts": [{"PartNumber": n, "ETag": c["CopyPartResult"]["ETag"]} for n, c in ((1, copied), (2, rest))]},
    )
    assert done["ETag"].endswith('-2"')
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == WHOLE[:1000] + WHOLE
    path = f"/{bucket}/k2?partNumber=1&uploadId={begin(s3, bucket, 'k2')['UploadId']}"
    origin = {"x-amz-copy-source": f"/{bucket}/src/%C3%BC%20%3FversionId%3Dx"}
    for text, status, code in (
        (f"bytes=0-{len(WHOLE)}", 416, "InvalidRange"), ("bytes=5-", 400, "InvalidArgument"), ("bytes=-5", 400, "InvalidArgument"),
        ("0-5", 400, "InvalidArgument"), ("bytes=5-4", 400, "InvalidArgument"), ("bytes=0-1,3-4", 400, "InvalidArgument"),
    ):  # fmt: skip
        answer = call(server, "PUT", path, headers={**origin, "x-amz-copy-source-range": text})
        assert (answer.status in (status, 400), answer.code) == (True, code), text
    answer = call(server, "PUT", path, headers={**origin, "x-amz-copy-source-if-none-match": source["ETag"]})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")


def test_somebody_elses_data_cannot_be_copied_into_a_part(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="secret", Body=WHOLE)
    thief = server.client(BOB)
    thief.create_bucket(Bucket=f"thief-{bucket}")
    where = begin(thief, f"thief-{bucket}")
    assert code_of(thief.upload_part_copy, **where, PartNumber=1, CopySource=f"{bucket}/secret") == (403, "AccessDenied")
    assert code_of(thief.copy_object, Bucket=f"thief-{bucket}", Key="x", CopySource=f"{bucket}/secret") == (403, "AccessDenied")


def test_unknown_algorithms_are_refused(server: Running, bucket: str) -> None:
    for headers in ({"x-amz-checksum-algorithm": "MD5"}, {"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"}):
        assert call(server, "POST", f"/{bucket}/k?uploads", headers=headers).code == "InvalidRequest"


def test_the_transfer_manager_works(either: Running) -> None:
    s3 = either.client()
    s3.create_bucket(Bucket="transfers")
    data = os.urandom(12 << 20)
    config = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=3)
    s3.upload_fileobj(io.BytesIO(data), "transfers", "k", Config=config)
    back = io.BytesIO()
    s3.download_fileobj("transfers", "k", back, Config=config)
    assert back.getvalue() == data
    assert s3.head_object(Bucket="transfers", Key="k")["ETag"].endswith('-3"')
    s3.copy({"Bucket": "transfers", "Key": "k"}, "transfers", "k2", Config=config)
    assert s3.get_object(Bucket="transfers", Key="k2")["Body"].read() == data


@pytest.mark.parametrize("algorithm", ["", "SHA256", "CRC32"])
def test_attributes_show_the_parts_in_pages(s3: Any, bucket: str, algorithm: str) -> None:
    chosen = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **chosen)["UploadId"]
    sent = [(number, b"x" * (100 + number)) for number in (2, 3, 7)]
    parts = []
    for number, data in sent:
        part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=data, **chosen)
        line = {"PartNumber": number, "ETag": part["ETag"]}
        if algorithm:
            line[f"Checksum{algorithm}"] = part[f"Checksum{algorithm}"]
        parts.append(line)
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    ask = {"Bucket": bucket, "Key": "k", "ObjectAttributes": ["ObjectParts", "ObjectSize"]}
    found = s3.get_object_attributes(**ask)["ObjectParts"]
    assert (found["TotalPartsCount"], found["IsTruncated"], found["MaxParts"], found["PartNumberMarker"]) == (3, False, 1000, 0)
    assert [(part["PartNumber"], part["Size"]) for part in found["Parts"]] == [(number, len(data)) for number, data in sent]
    if algorithm:
        assert [part[f"Checksum{algorithm}"] for part in found["Parts"]] == [part[f"Checksum{algorithm}"] for part in parts]
    first = s3.get_object_attributes(**ask, MaxParts=2)["ObjectParts"]
    assert (first["IsTruncated"], first["NextPartNumberMarker"], len(first["Parts"])) == (True, 3, 2)
    rest = s3.get_object_attributes(**ask, MaxParts=2, PartNumberMarker=3)["ObjectParts"]
    assert (rest["IsTruncated"], rest["PartNumberMarker"], [part["PartNumber"] for part in rest["Parts"]]) == (False, 3, [7])


def test_nobodys_list_of_parts_is_read(server: Running, bucket: str) -> None:
    path = f"/{bucket}/k?uploadId={'0' * 32}"
    assert send(server, "POST", path, b"no document").code == "AccessDenied"
    assert call(server, "POST", path, b"no document", user=BOB).code == "AccessDenied"
    assert call(server, "POST", path, b"no document").code == "MalformedXML"


def test_the_address_of_an_object_whose_bucket_is_in_the_host_names_it_once() -> None:
    with s3_serving(settings=S3Settings(domains=("localhost",))) as server:
        host = {"Host": f"my-bucket.localhost:{server.port}"}
        assert call(server, "PUT", "/", headers=host).status == 200
        upload_id = call(server, "POST", "/a/k?uploads", headers=host).value("UploadId")
        etag = call(server, "PUT", f"/a/k?partNumber=1&uploadId={upload_id}", b"x", host).headers["etag"]
        listed = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        answer = call(server, "POST", f"/a/k?uploadId={upload_id}", listed.encode(), host)
        assert (answer.status, answer.value("Location")) == (200, f"http://my-bucket.localhost:{server.port}/a/k")
