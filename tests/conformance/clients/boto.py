"""boto3, newest and from before checksums became the default: the widest use of the API by a client."""

import io
import os
import ssl
import threading
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from scenario import (
    BUCKET,
    CA,
    FILES,
    KEY,
    REGION,
    SCHEME,
    SCRATCH,
    SECRET,
    STYLE,
    URL,
    Skip,
    names,
    noise,
    raises,
    run,
    same_files,
    scenario,
)


def client(**more):
    return boto3.client(
        "s3", endpoint_url=URL, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION, verify=CA or None,
        config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": STYLE}, signature_version="s3v4", **more),
    )  # fmt: skip


s3 = client()


def code(call):
    return raises(ClientError, call).response["Error"]["Code"]


def read(key, **more):
    return s3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()


@scenario
def files():
    s3.create_bucket(Bucket=BUCKET)
    for name in names():
        s3.upload_file(str(FILES / name), BUCKET, name)
    for name in names():
        target = SCRATCH / "down" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(BUCKET, name, str(target))
    same_files(FILES, SCRATCH / "down")


@scenario
def large():
    size = (200 << 20) if STYLE == "path" else (40 << 20)
    data = noise("200", 1 << 20) * (size >> 20)
    config = TransferConfig(multipart_chunksize=16 << 20, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "large", Config=config)
    assert s3.head_object(Bucket=BUCKET, Key="large")["ContentLength"] == size
    back = io.BytesIO()
    s3.download_fileobj(BUCKET, "large", back, Config=config)
    assert back.getvalue() == data
    s3.delete_object(Bucket=BUCKET, Key="large")


@scenario
def list_pages():
    keys = [f"page/{i % 7}/{i:04d}" for i in range(1250)]
    s3.put_object(Bucket=BUCKET, Key="page/\x01control", Body=b"")

    def put(some):
        for key in some:
            s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())

    threads = [threading.Thread(target=put, args=(keys[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="page/")
    assert [e["Key"] for page in pages for e in page.get("Contents", [])] == sorted([*keys, "page/\x01control"])
    pages = s3.get_paginator("list_objects").paginate(Bucket=BUCKET, Prefix="page/", Delimiter="/", PaginationConfig={"PageSize": 3})
    assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == [f"page/{i}/" for i in range(7)]
    assert s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0)["KeyCount"] == 0


@scenario
def delete_many():
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="page/")
    s3.delete_object(Bucket=BUCKET, Key="page/\x01control")  # XML 1.0 cannot name it, so no client deletes it in a batch
    keys = [{"Key": e["Key"]} for page in pages for e in page["Contents"]]
    for start in range(0, len(keys), 1000):
        answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[start : start + 1000]})
        assert len(answer["Deleted"]) == len(keys[start : start + 1000])
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="page/")["KeyCount"] == 0


@scenario
def ranges():
    data = noise("range", 100_000)
    s3.put_object(Bucket=BUCKET, Key="range", Body=data)
    assert read("range", Range="bytes=10-19") == data[10:20]
    assert read("range", Range="bytes=-5") == data[-5:]
    assert read("range", Range="bytes=99990-200000") == data[99990:]
    assert code(lambda: read("range", Range="bytes=100000-")) == "InvalidRange"


@scenario
def copy():
    s3.put_object(Bucket=BUCKET, Key="from ü+%", Body=b"copied", Metadata={"a": "1"}, ContentType="text/x")
    s3.copy_object(Bucket=BUCKET, Key="to", CopySource={"Bucket": BUCKET, "Key": "from ü+%"})
    head = s3.head_object(Bucket=BUCKET, Key="to")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "1"}, "text/x")
    s3.copy_object(Bucket=BUCKET, Key="to", CopySource={"Bucket": BUCKET, "Key": "to"}, MetadataDirective="REPLACE", Metadata={"b": "2"})
    assert s3.head_object(Bucket=BUCKET, Key="to")["Metadata"] == {"b": "2"}
    assert read("to") == b"copied"
    s3.copy({"Bucket": BUCKET, "Key": "big.bin"}, BUCKET, "big-copy", Config=TransferConfig(multipart_threshold=8 << 20))
    assert read("big-copy") == (FILES / "big.bin").read_bytes()


@scenario
def metadata():
    s3.put_object(
        Bucket=BUCKET, Key="meta", Body=b"x", Metadata={"mixed-Case": "v", "spaces": "a  b"}, ContentType="text/plain; charset=utf-8", CacheControl="no-cache",
        ContentDisposition='attachment; filename="ü.txt"'.encode().decode("latin-1"), ContentEncoding="gzip", ContentLanguage="de",
    )  # fmt: skip
    head = s3.head_object(Bucket=BUCKET, Key="meta")
    assert head["Metadata"]["mixed-case"] == "v"
    assert (head["CacheControl"], head["ContentEncoding"], head["ContentLanguage"]) == ("no-cache", "gzip", "de")
    assert head["ETag"] == '"9dd4e461268c8034f5c8564e155c67a6"'


@scenario
def conditional():
    etag = s3.put_object(Bucket=BUCKET, Key="cond", Body=b"1")["ETag"]
    assert code(lambda: s3.get_object(Bucket=BUCKET, Key="cond", IfNoneMatch=etag)) == "304"
    assert code(lambda: s3.get_object(Bucket=BUCKET, Key="cond", IfMatch='"0"')) == "PreconditionFailed"
    parameters = s3.meta.service_model.operation_model("PutObject").input_shape.members
    if "IfMatch" not in parameters:
        raise Skip("this version cannot put conditionally")
    assert code(lambda: s3.put_object(Bucket=BUCKET, Key="cond", Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    s3.put_object(Bucket=BUCKET, Key="cond", Body=b"3", IfMatch=etag)
    assert code(lambda: s3.put_object(Bucket=BUCKET, Key="cond", Body=b"4", IfMatch=etag)) == "PreconditionFailed"
    assert read("cond") == b"3"


@scenario
def checksums():
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        put = s3.put_object(Bucket=BUCKET, Key="sum", Body=b"data", ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        assert got["Body"].read() == b"data"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="sums", ChecksumAlgorithm="SHA256")["UploadId"]
    part = s3.upload_part(Bucket=BUCKET, Key="sums", UploadId=upload, PartNumber=1, Body=b"part", ChecksumAlgorithm="SHA256")
    done = s3.complete_multipart_upload(
        Bucket=BUCKET, Key="sums", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]}]},
    )  # fmt: skip
    assert done["ChecksumSHA256"].endswith("-1")
    assert code(lambda: s3.put_object(Bucket=BUCKET, Key="wrong", Body=b"data", ChecksumCRC32="AAAAAA==")) in (
        "BadDigest",
        "InvalidRequest",
    )
    assert code(lambda: s3.head_object(Bucket=BUCKET, Key="wrong")) == "404"


@scenario
def presigned():
    body = noise("signed", 50_000)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "signed ü"}, ExpiresIn=60)
    get = s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "signed ü", "ResponseContentType": "text/x"}, ExpiresIn=60
    )
    context = ssl.create_default_context(cafile=CA) if SCHEME == "https" else None
    urllib.request.urlopen(urllib.request.Request(put, data=body, method="PUT"), context=context).close()
    with urllib.request.urlopen(get, context=context) as answer:
        assert answer.read() == body
        assert answer.headers["Content-Type"] == "text/x"
    spoilt = get.replace("X-Amz-Signature=", "X-Amz-Signature=0")
    assert raises(urllib.error.HTTPError, lambda: urllib.request.urlopen(spoilt, context=context)).code in (400, 403)


@scenario
def browser_form():
    fields = s3.generate_presigned_post(BUCKET, "form/${filename}", Conditions=[["content-length-range", 0, 1000]], ExpiresIn=60)
    edge = "----edge"
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields["fields"].items()]
    parts.append(
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\nContent-Type: text/plain\r\n\r\nposted\r\n--{edge}--\r\n'
    )
    context = ssl.create_default_context(cafile=CA) if SCHEME == "https" else None
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    urllib.request.urlopen(urllib.request.Request(fields["url"], data="".join(parts).encode(), headers=headers), context=context).close()
    assert read("form/f.txt") == b"posted"


@scenario
def tags():
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"x", Tagging="a=1&b=%C3%BC")
    assert {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"]} == {"a": "1", "b": "ü"}
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert s3.head_object(Bucket=BUCKET, Key="tagged")["ResponseMetadata"]["HTTPHeaders"].get("x-amz-tagging-count", "1") == "1"
    s3.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []


@scenario
def multipart_by_hand():
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    first, second = noise("p1", 5 << 20), noise("p2", 1000)
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=n, Body=b)["ETag"]}
        for n, b in ((7, second), (2, first))
    ]
    assert [u["UploadId"] for u in s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == [upload]
    assert [p["PartNumber"] for p in s3.list_parts(Bucket=BUCKET, Key="parts", UploadId=upload)["Parts"]] == [2, 7]
    complete = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload}
    assert code(lambda: s3.complete_multipart_upload(**complete, MultipartUpload={"Parts": parts})) == "InvalidPartOrder"
    done = s3.complete_multipart_upload(**complete, MultipartUpload={"Parts": parts[::-1]})
    assert done["ETag"].endswith('-2"')
    assert read("parts") == first + second
    assert (read("parts", PartNumber=2), read("parts", PartNumber=7)) == (first, second)
    gone = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    s3.abort_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=gone)
    assert code(lambda: s3.list_parts(Bucket=BUCKET, Key="parts", UploadId=gone)) == "NoSuchUpload"


@scenario
def errors():
    assert code(lambda: read("missing")) == "NoSuchKey"
    assert code(lambda: s3.head_object(Bucket=BUCKET, Key="missing")) == "404"
    assert code(lambda: s3.list_objects_v2(Bucket=BUCKET + "-3")) == "NoSuchBucket"
    assert code(lambda: s3.delete_bucket(Bucket=BUCKET)) == "BucketNotEmpty"
    s3.delete_object(Bucket=BUCKET, Key="missing")
    other = boto3.client(
        "s3", endpoint_url=URL, aws_access_key_id=KEY, aws_secret_access_key="wrong", region_name=REGION, verify=CA or None
    )
    assert code(other.list_buckets) == "SignatureDoesNotMatch"


@scenario
def versions():
    bucket = BUCKET + "-2"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    one = s3.put_object(Bucket=bucket, Key="v", Body=b"1")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="v", Body=b"2")["VersionId"]
    assert s3.get_object(Bucket=bucket, Key="v", VersionId=one)["Body"].read() == b"1"
    marker = s3.delete_object(Bucket=bucket, Key="v")
    assert marker["DeleteMarker"]
    assert code(lambda: s3.get_object(Bucket=bucket, Key="v")) == "NoSuchKey"
    listed = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in listed["Versions"]] == [two, one]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    s3.delete_object(Bucket=bucket, Key="v", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"2"
    s3.delete_object(Bucket=bucket, Key="v", VersionId=two)
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"1"
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "v", "VersionId": one}]})
    s3.delete_bucket(Bucket=bucket)


@scenario
def cors_and_tags_of_a_bucket():
    rules = [{"AllowedOrigins": ["http://x"], "AllowedMethods": ["GET"], "AllowedHeaders": ["*"]}]
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == rules
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == [{"Key": "a", "Value": "b"}]
    s3.delete_bucket_tagging(Bucket=BUCKET)
    assert code(lambda: s3.get_bucket_tagging(Bucket=BUCKET)) == "NoSuchTagSet"


@scenario
def lifecycle():
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"] == [rule]
    s3.delete_bucket_lifecycle(Bucket=BUCKET)


@scenario
def policy():
    import json

    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/public/*"}],
        }
    )
    s3.put_object(Bucket=BUCKET, Key="public/x", Body=b"open")
    s3.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicPolicy": False,
            "RestrictPublicBuckets": False,
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
        },
    )
    s3.put_bucket_policy(Bucket=BUCKET, Policy=text)
    assert json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"]) == json.loads(text)
    context = ssl.create_default_context(cafile=CA) if SCHEME == "https" else None
    address = URL.replace("//", f"//{BUCKET}.") if STYLE == "virtual" else f"{URL}/{BUCKET}"
    with urllib.request.urlopen(f"{address}/public/x", context=context) as answer:
        assert answer.read() == b"open"
    assert raises(urllib.error.HTTPError, lambda: urllib.request.urlopen(f"{address}/cond", context=context)).code == 403


@scenario
def encryption_with_the_customers_key():
    key = os.urandom(32)
    same = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    if SCHEME == "http":
        raise Skip("the key would go over the wire in the clear")
    s3.put_object(Bucket=BUCKET, Key="sealed", Body=b"secret", **same)
    assert read("sealed", **same) == b"secret"
    assert code(lambda: read("sealed")) in ("InvalidRequest", "400")


@scenario
def clean_up():
    bucket = boto3.resource(
        "s3",
        endpoint_url=URL,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        verify=CA or None,
        config=Config(s3={"addressing_style": STYLE}),
    ).Bucket(BUCKET)
    bucket.object_versions.delete()
    s3.delete_bucket(Bucket=BUCKET)
    assert BUCKET not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


run()
