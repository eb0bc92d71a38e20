"""boto3, row by row of the API: what `boto.py` leaves out, from conditions on every write to IAM; newest boto3 and one from 2024.

Headers that the older boto3 does not know are added before it signs, so that both send the same.
"""

import base64
import contextlib
import datetime
import hashlib
import http.server
import io
import json
import os
import ssl
import threading
import time
import urllib.error
import urllib.request
import uuid

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from scenario import BUCKET, CA, KEY, REGION, SCHEME, SECRET, STYLE, URL, Skip, noise, raises, run, scenario

OTHER = (os.environ["S3_OTHER_ACCESS_KEY"], os.environ["S3_OTHER_SECRET_KEY"])
OTHER_EMAIL = os.environ["S3_OTHER_EMAIL"]
WEBSITE_DOMAIN = os.environ["S3_WEBSITE_DOMAIN"]
HOOK_PORT = int(os.environ["S3_HOOK_PORT"])
MIB = 1 << 20


def client(service="s3", key=KEY, secret=SECRET, token=None, **more):
    more.setdefault("signature_version", "s3v4" if service == "s3" else "v4")
    return boto3.client(
        service, endpoint_url=URL, aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token, region_name=REGION,
        verify=CA or None, config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": STYLE}, **more),
    )  # fmt: skip


s3 = client()
other = client(key=OTHER[0], secret=OTHER[1])
anonymous = client(signature_version=UNSIGNED)


def code(call, *arguments, **named):
    return raises(ClientError, lambda: call(*arguments, **named)).response["Error"]["Code"]


def status(call, **named):
    return raises(ClientError, lambda: call(**named)).response["ResponseMetadata"]["HTTPStatusCode"]


@contextlib.contextmanager
def headers(**more):
    """Add headers (underscores become dashes) to every request, before it is signed."""

    def add(request, **_):
        for name, value in more.items():
            request.headers[name.replace("_", "-")] = value

    s3.meta.events.register("before-sign.s3", add)
    try:
        yield
    finally:
        s3.meta.events.unregister("before-sign.s3", add)


def read(key, bucket=BUCKET, by=s3, **more):
    return by.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def parts_of(*etags):
    return {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]}


def begun(key, *bodies, **more):
    """An upload with these parts; (upload id, their etags)."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]
    same = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    return upload, [s3.upload_part(**same, PartNumber=number, Body=body)["ETag"] for number, body in enumerate(bodies, 1)]


def opened(request):
    """The answer of urllib, redirects not followed; errors are answers."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    context = ssl.create_default_context(cafile=CA) if SCHEME == "https" else None
    if context is not None and WEBSITE_DOMAIN in (request.get_header("Host") or ""):
        context.check_hostname = False  # the address is 127.0.0.1's
    handlers = [Stay(), *([urllib.request.HTTPSHandler(context=context)] if context else [])]
    try:
        return urllib.request.build_opener(*handlers).open(request, timeout=30)
    except urllib.error.HTTPError as answer:
        return answer


def address(key, bucket=BUCKET):
    return f"{URL.replace('//', f'//{bucket}.')}/{key}" if STYLE == "virtual" else f"{URL}/{bucket}/{key}"


@scenario
def buckets():
    s3.create_bucket(Bucket=BUCKET)
    s3.create_bucket(Bucket=BUCKET)  # one's own again is no error in this region
    assert code(other.create_bucket, Bucket=BUCKET) == "BucketAlreadyExists"
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    assert code(s3.create_bucket, Bucket="under_score") == "InvalidBucketName"
    assert status(other.head_bucket, Bucket=BUCKET) == 403
    assert status(s3.head_bucket, Bucket=BUCKET + "-3") == 404
    assert code(other.list_objects_v2, Bucket=BUCKET) == "AccessDenied"
    if "Prefix" in s3.meta.service_model.operation_model("ListBuckets").input_shape.members:
        page = s3.list_buckets(Prefix=BUCKET, MaxBuckets=1)
        assert [b["Name"] for b in page["Buckets"]] == [BUCKET]


@scenario
def signatures_that_are_wrong():
    assert code(client(key="nobody").list_buckets) == "InvalidAccessKeyId"
    assert code(anonymous.list_buckets) == "AccessDenied"
    assert code(anonymous.get_object, Bucket=BUCKET, Key="x") == "AccessDenied"
    late = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "x"}, ExpiresIn=1)
    time.sleep(2.1)
    answer = opened(urllib.request.Request(late))
    assert (answer.status, b"AccessDenied" in answer.read()) == (403, True)
    far = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "x"}, ExpiresIn=700_000)
    assert opened(urllib.request.Request(far)).status == 400


@scenario
def signature_version_2():
    old = client(signature_version="s3")
    old.put_object(Bucket=BUCKET, Key="v2 ü", Body=b"two")
    assert read("v2 ü", by=old) == b"two"
    url = old.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "v2 ü"}, ExpiresIn=60)
    assert "Signature=" in url
    assert opened(urllib.request.Request(url)).read() == b"two"
    assert code(client(signature_version="s3", secret="wrong").list_objects, Bucket=BUCKET) == "SignatureDoesNotMatch"


@scenario
def what_is_off_says_so():
    for call, expected in (
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ):
        assert code(getattr(s3, call), Bucket=BUCKET) == expected, call
    assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=BUCKET)
    notifications = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    assert not any(name.endswith("Configurations") for name in notifications)


@scenario
def conditions_on_every_write():
    s3.put_object(Bucket=BUCKET, Key="there", Body=b"1")
    etag = s3.head_object(Bucket=BUCKET, Key="there")["ETag"]
    put, named = s3.put_object, {"Bucket": BUCKET, "Key": "there"}
    with headers(If_None_Match="*"):
        assert code(put, **named, Body=b"2") == "PreconditionFailed"
        assert code(s3.copy_object, **named, CopySource=f"{BUCKET}/there", MetadataDirective="REPLACE") == "PreconditionFailed"
        put(Bucket=BUCKET, Key="new", Body=b"2")
    upload, etags = begun("there", b"whole")
    done = {**named, "UploadId": upload, "MultipartUpload": parts_of(*etags)}
    with headers(If_None_Match="*"):
        assert code(s3.complete_multipart_upload, **done) == "PreconditionFailed"
    with headers(If_Match='"0123456789abcdef0123456789abcdef"'):
        assert code(put, **named, Body=b"2") == "PreconditionFailed"
        assert code(put, Bucket=BUCKET, Key="missing", Body=b"2") == "NoSuchKey"
        assert code(s3.complete_multipart_upload, **done) == "PreconditionFailed"
        assert code(s3.delete_object, **named) == "PreconditionFailed"
    assert read("there") == b"1"
    with headers(If_Match=etag):
        s3.complete_multipart_upload(**done)
    etag = s3.head_object(**named)["ETag"]
    with headers(If_Match=etag):
        s3.delete_object(**named)
    assert code(s3.head_object, **named) == "404"


@scenario
def conditions_on_reads():
    s3.put_object(Bucket=BUCKET, Key="cond", Body=b"x")
    head = s3.head_object(Bucket=BUCKET, Key="cond")
    before, after = (head["LastModified"] + datetime.timedelta(days=days) for days in (-1, 1))
    wrong = '"0123456789abcdef0123456789abcdef"'
    assert read("cond", IfMatch=head["ETag"], IfUnmodifiedSince=before) == b"x"  # If-Match counts
    assert code(s3.get_object, Bucket=BUCKET, Key="cond", IfUnmodifiedSince=before) == "PreconditionFailed"
    assert read("cond", IfNoneMatch=wrong, IfModifiedSince=after) == b"x"
    assert code(s3.get_object, Bucket=BUCKET, Key="cond", IfModifiedSince=head["LastModified"]) == "304"


@scenario
def deletes_of_many():
    keys = [{"Key": f"n{number}"} for number in range(1001)]
    assert code(s3.delete_objects, Bucket=BUCKET, Delete={"Objects": keys}) == "MalformedXML"
    s3.put_object(Bucket=BUCKET, Key="n1", Body=b"")
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "n1"}, {"Key": "never <&>"}], "Quiet": False})
    assert sorted(d["Key"] for d in answer["Deleted"]) == ["n1", "never <&>"]
    assert "Deleted" not in s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "n1"}], "Quiet": True})


@scenario
def copies_and_their_edges():
    s3.put_object(Bucket=BUCKET, Key="src/ü +%", Body=noise("copy", 300_000), Metadata={"m": "1"}, Tagging="t=1")
    etag = s3.head_object(Bucket=BUCKET, Key="src/ü +%")["ETag"]
    source = {"Bucket": BUCKET, "Key": "src/ü +%"}
    assert code(s3.copy_object, Bucket=BUCKET, Key="src/ü +%", CopySource=source) == "InvalidRequest"
    assert code(s3.copy_object, Bucket=BUCKET, Key="dst", CopySource=source, CopySourceIfNoneMatch=etag) == "PreconditionFailed"
    assert code(s3.copy_object, Bucket=BUCKET, Key="dst", CopySource={"Bucket": BUCKET, "Key": "no"}) == "NoSuchKey"
    assert code(other.copy_object, Bucket=BUCKET, Key="dst", CopySource=source) == "AccessDenied"
    s3.copy_object(Bucket=BUCKET, Key="dst", CopySource=source, CopySourceIfMatch=etag, TaggingDirective="REPLACE", Tagging="t=2")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="dst")["TagSet"] == [{"Key": "t", "Value": "2"}]
    s3.delete_object(Bucket=BUCKET, Key="src/ü +%")
    assert read("dst") == noise("copy", 300_000)


@scenario
def multipart_and_its_edges():
    s3.put_object(Bucket=BUCKET, Key="mp-src", Body=noise("mp", 6 * MIB))
    upload, _ = begun("mp")
    same = {"Bucket": BUCKET, "Key": "mp", "UploadId": upload}
    source = {"Bucket": BUCKET, "Key": "mp-src"}
    first = s3.upload_part_copy(**same, PartNumber=1, CopySource=source, CopySourceRange=f"bytes=1-{5 * MIB}")["CopyPartResult"]["ETag"]
    assert code(s3.upload_part_copy, **same, PartNumber=2, CopySource=source, CopySourceRange=f"bytes=0-{6 * MIB}") in ("InvalidRange", "InvalidArgument")  # fmt: skip
    s3.upload_part(**same, PartNumber=2, Body=b"replaced")
    last = s3.upload_part(**same, PartNumber=2, Body=b"last")["ETag"]
    assert code(s3.complete_multipart_upload, **same, MultipartUpload=parts_of(first, first)) == "InvalidPart"
    assert code(s3.complete_multipart_upload, **same, MultipartUpload={"Parts": []}) == "MalformedXML"
    assert code(s3.upload_part, **same, PartNumber=10_001, Body=b"") == "InvalidArgument"
    one = s3.complete_multipart_upload(**same, MultipartUpload=parts_of(first, last))
    again = s3.complete_multipart_upload(**same, MultipartUpload=parts_of(first, last))
    assert one["ETag"] == again["ETag"]
    body = noise("mp", 6 * MIB)[1 : 5 * MIB + 1] + b"last"
    assert read("mp") == body
    halves = hashlib.md5(hashlib.md5(body[:-4]).digest() + hashlib.md5(b"last").digest()).hexdigest()
    assert one["ETag"] == f'"{halves}-2"'
    head = s3.head_object(Bucket=BUCKET, Key="mp", PartNumber=2)
    assert (head["ContentLength"], head["PartsCount"]) == (4, 2)
    small, etags = begun("mp-small", b"small", b"last")
    call = {"Bucket": BUCKET, "Key": "mp-small", "UploadId": small}
    assert code(s3.complete_multipart_upload, **call, MultipartUpload=parts_of(*etags)) == "EntityTooSmall"
    uploads = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="mp-", MaxUploads=1)
    assert [u["Key"] for u in uploads["Uploads"]] == ["mp-small"]
    s3.abort_multipart_upload(**call)
    assert code(s3.abort_multipart_upload, **call) == "NoSuchUpload"


def _crc(data, width, polynomial):
    value = mask = (1 << width) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return base64.b64encode((value ^ mask).to_bytes(width // 8, "big")).decode()


@scenario
def five_checksums_kept_and_given():
    data = b"checked from end to end"
    sums = {
        "crc32": _crc(data, 32, 0xEDB88320),
        "crc32c": _crc(data, 32, 0x82F63B78),
        "crc64nvme": _crc(data, 64, 0x9A6C9329AC4BC9B5),
        "sha1": base64.b64encode(hashlib.sha1(data).digest()).decode(),
        "sha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
    }
    plain = client(
        **({"request_checksum_calculation": "when_required"} if "request_checksum_calculation" in Config.OPTION_DEFAULTS else {})
    )
    for name, value in sums.items():
        plain.meta.events.register("before-sign.s3.PutObject", added := _adder(f"x-amz-checksum-{name}", value))
        plain.put_object(Bucket=BUCKET, Key="sum", Body=data)
        plain.meta.events.unregister("before-sign.s3.PutObject", added)
        answer = plain.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["ResponseMetadata"]["HTTPHeaders"]
        assert answer[f"x-amz-checksum-{name}"] == value, name
        assert answer["x-amz-checksum-type"] == "FULL_OBJECT"
        part = plain.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED", Range="bytes=0-1")["ResponseMetadata"]["HTTPHeaders"]
        assert f"x-amz-checksum-{name}" not in part
        plain.meta.events.register("before-sign.s3.PutObject", added := _adder(f"x-amz-checksum-{name}", value))
        assert code(plain.put_object, Bucket=BUCKET, Key="sum", Body=data[:-1]) == "BadDigest", name
        plain.meta.events.unregister("before-sign.s3.PutObject", added)


def _adder(name, value):
    def add(request, **_):
        request.headers[name] = value

    return add


@scenario
def attributes_of_objects():
    upload, etags = begun("attr", noise("a", 5 * MIB), b"end")
    s3.complete_multipart_upload(Bucket=BUCKET, Key="attr", UploadId=upload, MultipartUpload=parts_of(*etags))
    found = s3.get_object_attributes(Bucket=BUCKET, Key="attr", ObjectAttributes=["ETag", "ObjectParts", "ObjectSize", "StorageClass"])
    assert (found["ObjectSize"], found["ObjectParts"]["TotalPartsCount"], found["StorageClass"]) == (5 * MIB + 3, 2, "STANDARD")


@scenario
def versions_suspended_and_null():
    bucket = BUCKET + "-2"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    for state in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": state})
        s3.put_object(Bucket=bucket, Key="k", Body=state.encode())
    found = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert [(v["VersionId"] == "null", v["IsLatest"]) for v in found] == [(True, True), (False, False)]
    assert read("k", bucket, VersionId=found[1]["VersionId"]) == b"Enabled"
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert (gone["DeleteMarker"], gone["VersionId"]) == (True, "null")
    failure = raises(ClientError, lambda: s3.get_object(Bucket=bucket, Key="k", VersionId="null")).response
    assert failure["ResponseMetadata"]["HTTPStatusCode"] == 405
    assert failure["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    assert code(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert read("k", bucket) == b"Enabled"
    s3.delete_object(Bucket=bucket, Key="k", VersionId=found[1]["VersionId"])
    s3.delete_bucket(Bucket=bucket)


@scenario
def access_control_lists():
    s3.put_object(Bucket=BUCKET, Key="acl", Body=b"listed")
    assert code(s3.put_object_acl, Bucket=BUCKET, Key="acl", ACL="public-read") == "AccessControlListNotSupported"
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    assert code(s3.put_object_acl, Bucket=BUCKET, Key="acl", ACL="public-read") == "AccessDenied"  # blocked still
    s3.delete_public_access_block(Bucket=BUCKET)
    s3.put_object_acl(Bucket=BUCKET, Key="acl", ACL="public-read")
    assert read("acl", by=anonymous) == b"listed"
    s3.put_object_acl(Bucket=BUCKET, Key="acl", ACL="private")
    assert code(anonymous.get_object, Bucket=BUCKET, Key="acl") == "AccessDenied"
    s3.put_object_acl(Bucket=BUCKET, Key="acl", GrantRead=f'emailAddress="{OTHER_EMAIL}"')
    assert read("acl", by=other) == b"listed"
    s3.put_object_acl(Bucket=BUCKET, Key="acl", ACL="private")
    wrong = 'emailAddress="nobody@nowhere.example"'
    assert code(s3.put_object_acl, Bucket=BUCKET, Key="acl", GrantRead=wrong) == "UnresolvableGrantByEmailAddress"
    me = s3.list_buckets()["Owner"]["ID"]
    them = other.list_buckets()["Owner"]["ID"]
    s3.put_bucket_acl(Bucket=BUCKET, GrantWrite=f"id={them}", GrantFullControl=f"id={me}")
    other.put_object(Bucket=BUCKET, Key="theirs", Body=b"theirs")
    assert s3.list_objects(Bucket=BUCKET, Prefix="theirs")["Contents"][0]["Owner"]["ID"] == them
    assert code(s3.get_object, Bucket=BUCKET, Key="theirs") == "AccessDenied"  # the writer owns it
    grants = s3.get_bucket_acl(Bucket=BUCKET)["Grants"]
    assert sorted((g["Grantee"]["ID"] == me, g["Permission"]) for g in grants) == [(False, "WRITE"), (True, "FULL_CONTROL")]
    s3.delete_object(Bucket=BUCKET, Key="theirs")
    s3.put_bucket_acl(Bucket=BUCKET, ACL="private")
    assert code(s3.head_object, Bucket=BUCKET, Key="acl", ExpectedBucketOwner="000000000000") == "403"


@scenario
def policies_with_conditions():
    them = other.list_buckets()["Owner"]["ID"]
    resource = f"arn:aws:s3:::{BUCKET}"
    statements = [
        {"Effect": "Allow", "Principal": {"CanonicalUser": them}, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{resource}/shared/*"},
        {"Effect": "Allow", "Principal": {"CanonicalUser": them}, "Action": "s3:ListBucket", "Resource": resource, "Condition": {"StringLike": {"s3:prefix": "shared/*"}}},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"{resource}/shared/*", "Condition": {"StringNotEqualsIfExists": {"s3:x-amz-storage-class": "STANDARD_IA"}}},
    ]  # fmt: skip
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    other.put_object(Bucket=BUCKET, Key="shared/x", Body=b"1", StorageClass="STANDARD_IA")
    assert code(other.put_object, Bucket=BUCKET, Key="shared/x", Body=b"2", StorageClass="ONEZONE_IA") == "AccessDenied"
    assert read("shared/x", by=other) == b"1"
    s3.put_object(Bucket=BUCKET, Key="shared/ours", Body=b"3", StorageClass="STANDARD_IA")
    assert read("shared/ours", by=other) == b"3"
    assert [o["Key"] for o in other.list_objects_v2(Bucket=BUCKET, Prefix="shared/")["Contents"]] == ["shared/ours", "shared/x"]
    assert code(other.list_objects_v2, Bucket=BUCKET) == "AccessDenied"
    assert code(other.head_object, Bucket=BUCKET, Key="missing") == "403"
    assert s3.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"] is False
    assert code(s3.put_bucket_policy, Bucket=BUCKET, Policy='{"Version": "2012-10-17", "Statement": [{}]}') == "MalformedPolicy"
    s3.delete_bucket_policy(Bucket=BUCKET)
    assert code(other.get_object, Bucket=BUCKET, Key="shared/ours") == "AccessDenied"
    assert read("shared/x", by=other) == b"1"  # it is the writer's


@scenario
def preflight_and_origins():
    rule = {
        "AllowedOrigins": ["https://*.example"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 9,
    }
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": [rule]})
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-date"}
    answer = opened(urllib.request.Request(address("acl"), headers=asked, method="OPTIONS"))
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert answer.headers["Access-Control-Max-Age"] == "9"
    refused = opened(urllib.request.Request(address("acl"), headers={**asked, "Origin": "https://evil.test"}, method="OPTIONS"))
    assert refused.status == 403
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "acl"})
    got = opened(urllib.request.Request(url, headers={"Origin": "https://a.example"}))
    assert (got.headers["Access-Control-Allow-Origin"], got.headers["Access-Control-Expose-Headers"]) == ("https://a.example", "ETag")
    s3.delete_bucket_cors(Bucket=BUCKET)


@scenario
def object_lock():
    bucket = BUCKET + "-3"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]["Rule"] == rule
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"kept", ContentMD5=base64.b64encode(hashlib.md5(b"kept").digest()).decode())[
        "VersionId"
    ]
    one = {"Bucket": bucket, "Key": "k", "VersionId": version}
    assert s3.get_object_retention(**one)["Retention"]["Mode"] == "GOVERNANCE"
    assert code(s3.delete_object, **one) == "AccessDenied"
    s3.put_object_legal_hold(**one, LegalHold={"Status": "ON"})
    assert code(s3.delete_object, **one, BypassGovernanceRetention=True) == "AccessDenied"
    s3.put_object_legal_hold(**one, LegalHold={"Status": "OFF"})
    assert code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}) == "InvalidBucketState"
    bad = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)}
    assert code(s3.put_object_retention, **one, Retention=bad) == "InvalidArgument"
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    locked = s3.put_object(
        Bucket=bucket, Key="c", Body=b"compliant", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until,
        ContentMD5=base64.b64encode(hashlib.md5(b"compliant").digest()).decode(),
    )["VersionId"]  # fmt: skip
    assert code(s3.delete_object, Bucket=bucket, Key="c", VersionId=locked, BypassGovernanceRetention=True) == "AccessDenied"
    time.sleep(max(0.0, (until - datetime.datetime.now(datetime.UTC)).total_seconds()) + 1.2)
    s3.delete_object(Bucket=bucket, Key="c", VersionId=locked)
    s3.delete_object(**one, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=bucket)


@scenario
def lifecycle_rules_and_their_header():
    rules = [
        {"ID": "old", "Status": "Enabled", "Filter": {"And": {"Prefix": "old/", "Tags": [{"Key": "t", "Value": "1"}], "ObjectSizeGreaterThan": 1}}, "Expiration": {"Days": 2}},
        {"ID": "uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        {"ID": "versions", "Status": "Disabled", "Filter": {"Prefix": "v/"}, "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}},
        {"ID": "cold", "Status": "Enabled", "Filter": {"Prefix": "cold/"}, "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}]},
    ]  # fmt: skip
    s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": rules})
    assert s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"] == rules
    s3.put_object(Bucket=BUCKET, Key="old/x", Body=b"12", Tagging="t=1")
    expiration = s3.head_object(Bucket=BUCKET, Key="old/x")["Expiration"]
    assert 'rule-id="old"' in expiration
    assert "GMT" in expiration
    twice = [{**rules[0]}, {**rules[0]}]
    assert code(s3.put_bucket_lifecycle_configuration, Bucket=BUCKET, LifecycleConfiguration={"Rules": twice}) == "InvalidArgument"
    s3.delete_bucket_lifecycle(Bucket=BUCKET)


@scenario
def encryption_by_the_store():
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})
    body = noise("sealed", 400_000)
    assert s3.put_object(Bucket=BUCKET, Key="sse", Body=body)["ServerSideEncryption"] == "AES256"
    assert read("sse") == body
    assert read("sse", Range="bytes=65530-65545") == body[65530:65546]
    s3.delete_bucket_encryption(Bucket=BUCKET)
    kms = s3.put_object(Bucket=BUCKET, Key="kms", Body=body, ServerSideEncryption="aws:kms")
    assert kms["SSEKMSKeyId"]
    assert read("kms") == body
    assert (
        code(s3.put_object, Bucket=BUCKET, Key="kms", Body=b"", ServerSideEncryption="aws:kms", SSEKMSKeyId="no-such-key")
        == "KMS.NotFoundException"
    )
    upload, etags = begun("sse-parts", body[:1000], ServerSideEncryption="AES256")
    done = s3.complete_multipart_upload(Bucket=BUCKET, Key="sse-parts", UploadId=upload, MultipartUpload=parts_of(*etags))
    assert done["ServerSideEncryption"] == "AES256"
    assert read("sse-parts") == body[:1000]


@scenario
def encryption_and_copies():
    if SCHEME == "http":
        raise Skip("the customers' keys would go over the wire in the clear")
    body = noise("matrix", 200_000)
    ours, theirs = (noise(name, 32) for name in ("ours", "theirs"))

    def customer(key, prefix=""):
        return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}

    kinds = {"plain": {}, "s3": {"ServerSideEncryption": "AES256"}, "kms": {"ServerSideEncryption": "aws:kms"}, "c": customer(ours)}
    for name, how in kinds.items():
        s3.put_object(Bucket=BUCKET, Key=f"from-{name}", Body=body, **how)
        source = customer(ours, "CopySource") if name == "c" else {}
        for target, into in {**kinds, "c": customer(theirs)}.items():
            s3.copy_object(Bucket=BUCKET, Key="into", CopySource={"Bucket": BUCKET, "Key": f"from-{name}"}, **source, **into)
            assert read("into", **(customer(theirs) if target == "c" else {})) == body, (name, target)
    assert code(s3.get_object, Bucket=BUCKET, Key="from-c", **customer(theirs)) in ("AccessDenied", "InvalidRequest")
    upload, _ = begun("c-parts", **customer(ours))
    same = {"Bucket": BUCKET, "Key": "c-parts", "UploadId": upload}
    etag = s3.upload_part(**same, PartNumber=1, Body=body, **customer(ours))["ETag"]
    s3.complete_multipart_upload(**same, MultipartUpload=parts_of(etag))
    assert read("c-parts", **customer(ours), Range="bytes=100000-100009") == body[100_000:100_010]


@scenario
def websites():
    pages = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "404.html"}}
    rules = [{"Condition": {"KeyPrefixEquals": "moved/"}, "Redirect": {"ReplaceKeyPrefixWith": "here/", "HttpRedirectCode": "302"}}]
    s3.put_bucket_website(Bucket=BUCKET, WebsiteConfiguration={**pages, "RoutingRules": rules})
    assert s3.get_bucket_website(Bucket=BUCKET)["IndexDocument"] == pages["IndexDocument"]
    for name in ("index.html", "404.html"):
        s3.put_object(Bucket=BUCKET, Key=name, Body=name.encode(), ContentType="text/html", ACL="public-read")
    base = f"{SCHEME}://127.0.0.1:{URL.rpartition(':')[2]}"
    host = {"Host": f"{BUCKET}.{WEBSITE_DOMAIN}"}
    front = opened(urllib.request.Request(f"{base}/", headers=host))
    assert (front.status, front.read()) == (200, b"index.html")
    missing = opened(urllib.request.Request(f"{base}/none", headers=host))
    assert missing.status in (403, 404)
    moved = opened(urllib.request.Request(f"{base}/moved/x", headers=host))
    assert (moved.status, moved.headers["Location"].endswith("/here/x")) == (302, True)
    s3.delete_bucket_website(Bucket=BUCKET)


@scenario
def notifications():
    events = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            events.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))).get("Records", []))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    http.server.HTTPServer.allow_reuse_address = True
    server = http.server.HTTPServer(("127.0.0.1", HOOK_PORT), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        wanted = {"QueueArn": f"arn:aws:sqs:{REGION}:1:hook", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        wanted["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "told/"}]}}
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [wanted]})
        s3.put_object(Bucket=BUCKET, Key="told/ü x", Body=b"123")
        s3.put_object(Bucket=BUCKET, Key="untold", Body=b"123")
        s3.delete_object(Bucket=BUCKET, Key="told/ü x")
        deadline = time.monotonic() + 40
        while len({e["eventName"] for e in events}) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        names = {(e["eventName"], e["s3"]["object"]["key"]) for e in events}
        assert names == {("ObjectCreated:Put", "told/%C3%BC+x"), ("ObjectRemoved:Delete", "told/%C3%BC+x")}
        order = {e["eventName"]: e["s3"]["object"]["sequencer"] for e in events}
        assert order["ObjectCreated:Put"] < order["ObjectRemoved:Delete"]
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    finally:
        server.shutdown()
        server.server_close()


@scenario
def logging_of_requests():
    target = BUCKET + "-2"
    s3.create_bucket(Bucket=target)
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{target}/*",
    }
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    wanted = {"TargetBucket": target, "TargetPrefix": "log/"}
    s3.put_bucket_logging(Bucket=BUCKET, BucketLoggingStatus={"LoggingEnabled": wanted})
    found = s3.get_bucket_logging(Bucket=BUCKET)["LoggingEnabled"]
    assert (found["TargetBucket"], found["TargetPrefix"]) == (target, "log/")
    s3.put_bucket_logging(Bucket=BUCKET, BucketLoggingStatus={})
    assert (
        code(s3.put_bucket_logging, Bucket=BUCKET, BucketLoggingStatus={"LoggingEnabled": {**wanted, "TargetBucket": "none-" + target}})
        == "InvalidTargetBucketForLogging"
    )
    s3.delete_bucket(Bucket=target)


@scenario
def users_and_roles():
    iam, name = client("iam"), f"u{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    keys = iam.create_access_key(UserName=name)["AccessKey"]
    user = client(key=keys["AccessKeyId"], secret=keys["SecretAccessKey"])
    assert code(user.get_object, Bucket=BUCKET, Key="acl") == "AccessDenied"
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    _until(lambda: read("acl", by=user) == b"listed")
    assert code(user.put_object, Bucket=BUCKET, Key="acl", Body=b"") == "AccessDenied"
    arn = iam.get_user(UserName=name)["User"]["Arn"]
    trust = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))["Role"][
        "Arn"
    ]
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [everything]}))
    sts = client("sts", key=keys["AccessKeyId"], secret=keys["SecretAccessKey"])
    session = sts.assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    by_role = client(key=session["AccessKeyId"], secret=session["SecretAccessKey"], token=session["SessionToken"])
    by_role.put_object(Bucket=BUCKET, Key="by-role", Body=b"1")
    caller = client(
        "sts", key=session["AccessKeyId"], secret=session["SecretAccessKey"], token=session["SessionToken"]
    ).get_caller_identity()
    assert f"/{name}/session" in caller["Arn"]
    iam.delete_role_policy(RoleName=name, PolicyName="all")
    iam.delete_role(RoleName=name)
    iam.delete_user_policy(UserName=name, PolicyName="read")
    iam.delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
    iam.delete_user(UserName=name)


def _until(holds):
    """What another proxy's cache may hide for a second."""
    for _ in range(50):
        with contextlib.suppress(ClientError):
            if holds():
                return
        time.sleep(0.1)
    raise AssertionError("it never held")


@scenario
def renames_and_appends():
    s3.put_object(Bucket=BUCKET, Key="append", Body=b"one")
    with headers(x_amz_write_offset_bytes="3"):
        s3.put_object(Bucket=BUCKET, Key="append", Body=b"two")
        assert code(s3.put_object, Bucket=BUCKET, Key="append", Body=b"again") == "InvalidWriteOffset"
    assert read("append") == b"onetwo"
    if "rename_object" in dir(s3):
        s3.rename_object(Bucket=BUCKET, Key="renamed", RenameSource="append")
        assert read("renamed") == b"onetwo"
        assert code(s3.head_object, Bucket=BUCKET, Key="append") == "404"


@scenario
def classes_of_storage():
    s3.upload_fileobj(io.BytesIO(noise("class", 300_000)), BUCKET, "class", ExtraArgs={"StorageClass": "STANDARD_IA"})
    assert s3.head_object(Bucket=BUCKET, Key="class")["StorageClass"] == "STANDARD_IA"
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="class")["Contents"][0]["StorageClass"] == "STANDARD_IA"
    assert code(s3.put_object, Bucket=BUCKET, Key="class", Body=b"", StorageClass="WARM") == "InvalidStorageClass"


@scenario
def not_built_says_501():
    assert status(s3.select_object_content, Bucket=BUCKET, Key="acl", Expression="select 1", ExpressionType="SQL", InputSerialization={"CSV": {}}, OutputSerialization={"CSV": {}}) == 501  # fmt: skip
    assert status(s3.get_object_torrent, Bucket=BUCKET, Key="acl") == 501


@scenario
def clean_up():
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    for page in pages:
        if "Contents" in page:
            s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": e["Key"]} for e in page["Contents"]]})
    s3.delete_bucket(Bucket=BUCKET)


run()
