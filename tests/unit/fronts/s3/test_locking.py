import datetime
import itertools
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running

FAR = datetime.datetime(2140, 1, 1, tzinfo=datetime.UTC)
FARTHER = datetime.datetime(2141, 1, 1, tzinfo=datetime.UTC)
_numbers = itertools.count(1)


@pytest.fixture
def locked(s3: Any) -> str:
    name = f"locked-{next(_numbers)}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def refusal(call_: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call_(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def config(**default: Any) -> dict[str, Any]:
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default}}


def test_the_configuration_of_a_bucket(s3: Any, bucket: str, locked: str) -> None:
    missing = (404, "ObjectLockConfigurationNotFoundError")
    assert refusal(s3.get_object_lock_configuration, Bucket=bucket) == missing
    wanted = config(Mode="GOVERNANCE", Days=1)
    assert refusal(s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=wanted) == (409, "InvalidBucketState")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == wanted
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    suspended = {"Status": "Suspended"}
    assert refusal(s3.put_bucket_versioning, Bucket=locked, VersioningConfiguration=suspended) == (409, "InvalidBucketState")


@pytest.mark.parametrize(
    ("default", "code"),
    [
        ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE"}, "MalformedXML"),
        ({"Mode": "governance", "Days": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidRetentionPeriod"),
        ({"Mode": "GOVERNANCE", "Years": -1}, "InvalidRetentionPeriod"),
        ({"Mode": "COMPLIANCE", "Years": 101}, "InvalidRetentionPeriod"),
    ],
)
def test_wrong_configurations_are_refused(s3: Any, locked: str, default: dict[str, Any], code: str) -> None:
    assert refusal(s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=config(**default)) == (400, code)
    disabled = {"ObjectLockEnabled": "Disabled"}
    assert refusal(s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=disabled) == (400, "MalformedXML")


def test_locks_are_set_by_headers_shown_and_kept(s3: Any, locked: str) -> None:
    put = s3.put_object(
        Bucket=locked, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR, ObjectLockLegalHoldStatus="ON"
    )
    head = s3.head_object(Bucket=locked, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", FAR, "ON")
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": FAR}
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "ON"}
    arguments = {"Bucket": locked, "Key": "k", "VersionId": put["VersionId"]}
    assert refusal(s3.delete_object, **arguments, BypassGovernanceRetention=True) == (403, "AccessDenied")
    s3.put_object_legal_hold(Bucket=locked, Key="k", LegalHold={"Status": "OFF"})
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "OFF"}
    assert refusal(s3.delete_object, **arguments) == (403, "AccessDenied")
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": [{"Key": "k", "VersionId": put["VersionId"]}]})
    assert [(e["Code"], e["Key"], e["VersionId"]) for e in answer["Errors"]] == [("AccessDenied", "k", put["VersionId"])]
    s3.delete_object(**arguments, BypassGovernanceRetention=True)
    assert "Versions" not in s3.list_object_versions(Bucket=locked)


def test_retention_by_its_own_call(server: Running, s3: Any, locked: str) -> None:
    version = s3.put_object(Bucket=locked, Key="k", Body=b"x")["VersionId"]
    assert refusal(s3.get_object_retention, Bucket=locked, Key="k") == (404, "NoSuchObjectLockConfiguration")
    assert s3.get_object_legal_hold(Bucket=locked, Key="k")["LegalHold"] == {"Status": "OFF"}

    def put(mode: str, until: datetime.datetime, **rest: Any) -> None:
        s3.put_object_retention(Bucket=locked, Key="k", Retention={"Mode": mode, "RetainUntilDate": until}, **rest)

    put("GOVERNANCE", FAR, VersionId=version)
    put("GOVERNANCE", FARTHER)
    for mode, until in (("GOVERNANCE", FAR), ("COMPLIANCE", FARTHER)):
        assert refusal(lambda mode=mode, until=until: put(mode, until)) == (403, "AccessDenied")
    put("COMPLIANCE", FAR, BypassGovernanceRetention=True)
    assert refusal(lambda: put("GOVERNANCE", FARTHER, BypassGovernanceRetention=True)) == (403, "AccessDenied")
    path = f"/{locked}/k?retention"
    past = b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2000-01-01T00:00:00Z</RetainUntilDate></Retention>"
    assert call(server, "PUT", path, past).code == "InvalidArgument"
    for document in (
        b"<Retention><Mode>ELSE</Mode><RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate></Retention>",
        b"<Retention><Mode>GOVERNANCE</Mode></Retention>",
        b"<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>noon</RetainUntilDate></Retention>",
        b"<Retention><Else/></Retention>",
        b"",
    ):
        assert call(server, "PUT", path, document).code == "MalformedXML"
    for document in (b"<LegalHold><Status>abc</Status></LegalHold>", b"<LegalHold/>", b"<x/>"):
        assert call(server, "PUT", f"/{locked}/k?legal-hold", document).code == "MalformedXML"


def test_a_bucket_without_object_lock_has_no_locks(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": FAR}
    for answer in (
        refusal(s3.put_object_retention, Bucket=bucket, Key="k", Retention=retention),
        refusal(s3.get_object_retention, Bucket=bucket, Key="k"),
        refusal(s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "ON"}),
        refusal(s3.get_object_legal_hold, Bucket=bucket, Key="k"),
        refusal(s3.put_object, Bucket=bucket, Key="k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR),
        refusal(s3.create_multipart_upload, Bucket=bucket, Key="k", ObjectLockLegalHoldStatus="ON"),
    ):
        assert answer == (400, "InvalidRequest")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", ObjectLockMode="GOVERNANCE") == (400, "InvalidArgument")


def test_who_may_only_write_cannot_lock_what_he_writes(server: Running, s3: Any, locked: str) -> None:
    """Else a guest, or anybody at all, could fill somebody's bucket with what nobody can remove for a hundred years."""

    def allow(*actions: str) -> None:
        statement = {"Effect": "Allow", "Principal": {"AWS": "bob"}, "Action": list(actions), "Resource": f"arn:aws:s3:::{locked}/*"}
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    retention = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2140-01-01T00:00:00Z"}
    hold = {"x-amz-object-lock-legal-hold": "ON"}
    allow("s3:PutObject")
    for headers in (retention, hold):
        assert call(server, "PUT", f"/{locked}/k", b"x", headers, user=BOB).code == "AccessDenied"
        assert call(server, "POST", f"/{locked}/k?uploads", b"", headers, user=BOB).code == "AccessDenied"
    assert call(server, "PUT", f"/{locked}/k", b"x", user=BOB).status == 200
    allow("s3:PutObject", "s3:PutObjectLegalHold")
    assert call(server, "PUT", f"/{locked}/k", b"x", hold, user=BOB).status == 200
    assert call(server, "PUT", f"/{locked}/k", b"x", retention, user=BOB).code == "AccessDenied"


def test_a_lock_cannot_end_when_no_answer_could_say(server: Running, locked: str) -> None:
    """A version locked until the year 10000 could be neither read nor removed."""
    headers = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "9999-12-31T23:59:59-23:59"}
    assert call(server, "PUT", f"/{locked}/k", b"x", headers).code == "InvalidArgument"
    call(server, "PUT", f"/{locked}/k", b"x")
    document = b"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>9999-12-31T23:59:59-23:59</RetainUntilDate></Retention>"
    assert call(server, "PUT", f"/{locked}/k?retention", document).code == "MalformedXML"
    assert call(server, "GET", f"/{locked}/k").status == 200


def test_a_bulk_delete_bypasses_retention_only_with_the_right_to(server: Running, s3: Any, locked: str) -> None:
    version = s3.put_object(Bucket=locked, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FAR)["VersionId"]
    bob = server.client(BOB)

    def errors(*actions: str, bypass: bool = True) -> list[str]:
        statement = {"Effect": "Allow", "Principal": {"AWS": "bob"}, "Action": list(actions), "Resource": f"arn:aws:s3:::{locked}/*"}
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        targets = {"Objects": [{"Key": "k", "VersionId": version}]}
        answer = bob.delete_objects(Bucket=locked, Delete=targets, BypassGovernanceRetention=bypass)
        return [error["Code"] for error in answer.get("Errors", [])]

    assert errors("s3:DeleteObjectVersion") == ["AccessDenied"]
    assert errors("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", bypass=False) == ["AccessDenied"]
    assert s3.head_object(Bucket=locked, Key="k")["VersionId"] == version
    assert errors("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention") == []


def test_retention_is_shortened_only_with_the_right_to_bypass_it(server: Running, s3: Any, locked: str) -> None:
    s3.put_object(Bucket=locked, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=FARTHER)
    bob = server.client(BOB)

    def shorten(*actions: str, **more: Any) -> None:
        statement = {"Effect": "Allow", "Principal": {"AWS": "bob"}, "Action": list(actions), "Resource": f"arn:aws:s3:::{locked}/*"}
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        bob.put_object_retention(Bucket=locked, Key="k", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": FAR}, **more)

    bypassing = {"BypassGovernanceRetention": True}
    assert refusal(lambda: shorten("s3:PutObjectRetention", **bypassing)) == (403, "AccessDenied")
    assert refusal(lambda: shorten("s3:PutObjectRetention", "s3:BypassGovernanceRetention")) == (403, "AccessDenied")
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"]["RetainUntilDate"] == FARTHER
    shorten("s3:PutObjectRetention", "s3:BypassGovernanceRetention", **bypassing)
    assert s3.get_object_retention(Bucket=locked, Key="k")["Retention"]["RetainUntilDate"] == FAR


def test_the_default_retention_holds_for_every_way_to_make_an_object(server: Running, s3: Any, locked: str) -> None:
    s3.put_object(Bucket=locked, Key="source", Body=b"x" * 10)
    s3.put_object(Bucket=locked, Key="moving", Body=b"x")
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=config(Mode="COMPLIANCE", Days=1))
    s3.put_object(Bucket=locked, Key="put", Body=b"x")
    s3.copy_object(Bucket=locked, Key="copy", CopySource=f"{locked}/source")
    assert call(server, "PUT", f"/{locked}/renamed?renameObject", b"", {"x-amz-rename-source": "moving"}).status == 200
    assert call(server, "PUT", f"/{locked}/appended", b"x", {"x-amz-write-offset-bytes": "0"}).status == 200
    assert call(server, "PUT", f"/{locked}/appended", b"y", {"x-amz-write-offset-bytes": "1"}).status == 200
    upload = s3.create_multipart_upload(Bucket=locked, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=locked, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket=locked, Key="parts", UploadId=upload, MultipartUpload=parts)
    for key in ("put", "copy", "renamed", "appended", "parts"):
        assert s3.head_object(Bucket=locked, Key=key)["ObjectLockMode"] == "COMPLIANCE", key
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="source")
