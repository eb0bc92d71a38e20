"""Access control lists through boto3."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3_raw import call, send
from tests.support.s3_server import BOB, Running
from tests.unit.fronts.s3.test_buckets import code_of

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture
def open_bucket(s3: Any, bucket: str) -> str:
    """A bucket whose lists count and that may be made public."""
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    return bucket


def test_lists_are_private_and_off_in_a_new_bucket(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    for got in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        (grant,) = got["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"]["ID"] == got["Owner"]["ID"]
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": got["Owner"], "Grants": got["Grants"]})
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    for acl in ("public-read", "authenticated-read"):
        assert code_of(s3.put_bucket_acl, Bucket=bucket, ACL=acl) == (400, "AccessControlListNotSupported")
        assert code_of(s3.put_object_acl, Bucket=bucket, Key="k", ACL=acl) == (400, "AccessControlListNotSupported")
    everybody = (
        f"<AccessControlPolicy><AccessControlList><Grant><Grantee><URI>{ALL_USERS}</URI></Grantee><Permission>READ</Permission></Grant>"
        "</AccessControlList></AccessControlPolicy>"
    ).encode()
    assert call(server, "PUT", f"/{bucket}?acl", everybody).code == "AccessControlListNotSupported"
    assert call(server, "PUT", f"/{bucket}?acl", everybody, {"x-amz-acl": "private"}).code == "UnexpectedContent"
    assert call(server, "PUT", f"/{bucket}?acl", b"<AccessControlPolicy/>").code == "MalformedACLError"
    assert call(server, "PUT", f"/{bucket}?acl").code == "MissingSecurityHeader"
    assert code_of(s3.get_object_acl, Bucket=bucket, Key="no") == (404, "NoSuchKey")


def test_an_object_is_opened_and_closed_by_its_list(server: Running, s3: Any, open_bucket: str) -> None:
    s3.put_object(Bucket=open_bucket, Key="k", Body=b"data", ACL="public-read")
    path = f"/{open_bucket}/k"
    assert send(server, "GET", path).body == b"data"
    assert call(server, "GET", path, user=BOB).body == b"data"
    refused = send(server, "GET", f"/{open_bucket}")
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert "Sign the request" in refused.value("Hint")
    s3.put_object_acl(Bucket=open_bucket, Key="k", ACL="authenticated-read")
    assert send(server, "GET", path).status == 403
    assert call(server, "GET", path, user=BOB).body == b"data"
    s3.put_object_acl(Bucket=open_bucket, Key="k", ACL="private")
    assert call(server, "GET", path, user=BOB).code == "AccessDenied"


def test_grants_to_users_by_id_and_address(server: Running, s3: Any, open_bucket: str) -> None:
    bob = server.client(BOB)
    bob_id = bob.list_buckets()["Owner"]["ID"]
    s3.put_bucket_acl(Bucket=open_bucket, GrantFullControl=f'id="{bob_id}"', GrantRead=f'uri="{ALL_USERS}"')
    grants = s3.get_bucket_acl(Bucket=open_bucket)["Grants"]
    assert {(g["Grantee"].get("ID", g["Grantee"].get("URI")), g["Permission"]) for g in grants} == {
        (bob_id, "FULL_CONTROL"),
        (ALL_USERS, "READ"),
    }
    bob.put_object(Bucket=open_bucket, Key="k", Body=b"x")
    assert bob.get_object_acl(Bucket=open_bucket, Key="k")["Owner"]["ID"] == bob_id
    assert bob.list_objects_v2(Bucket=open_bucket)["KeyCount"] == 1
    assert code_of(s3.put_object, Bucket=open_bucket, Key="mine", Body=b"") == (403, "AccessDenied")
    bob.put_bucket_acl(Bucket=open_bucket, GrantWrite='emailAddress="alice@localhost"')
    s3.put_object(Bucket=open_bucket, Key="mine", Body=b"")
    with pytest.raises(ClientError, match="UnresolvableGrantByEmailAddress"):
        s3.put_bucket_acl(Bucket=open_bucket, GrantRead='emailAddress="no@where"')
    assert code_of(s3.put_bucket_acl, Bucket=open_bucket, GrantRead="id=nobody") == (400, "InvalidArgument")
    assert code_of(s3.put_bucket_acl, Bucket=open_bucket, ACL="private", GrantRead=f"id={bob_id}") == (400, "InvalidRequest")


def test_copies_and_uploads_take_their_own_list(server: Running, s3: Any, open_bucket: str) -> None:
    s3.put_object(Bucket=open_bucket, Key="k", Body=b"data", ACL="public-read")
    source = {"Bucket": open_bucket, "Key": "k"}
    s3.copy_object(Bucket=open_bucket, Key="closed", CopySource=source)
    s3.copy_object(Bucket=open_bucket, Key="open", CopySource=source, ACL="public-read")
    assert send(server, "GET", f"/{open_bucket}/closed").status == 403
    assert send(server, "GET", f"/{open_bucket}/open").body == b"data"
    upload = s3.create_multipart_upload(Bucket=open_bucket, Key="big", ACL="public-read")["UploadId"]
    etag = s3.upload_part(Bucket=open_bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    s3.complete_multipart_upload(
        Bucket=open_bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    assert send(server, "GET", f"/{open_bucket}/big").body == b"part"


def test_buckets_are_made_with_a_list(server: Running, s3: Any) -> None:
    assert code_of(s3.create_bucket, Bucket="made-open", ACL="public-read", ObjectOwnership="ObjectWriter") == (
        400,
        "InvalidBucketAclWithBlockPublicAccessError",
    )
    s3.create_bucket(
        Bucket="made-shared", GrantRead=f"id={server.client(BOB).list_buckets()['Owner']['ID']}", ObjectOwnership="ObjectWriter"
    )
    assert server.client(BOB).list_objects_v2(Bucket="made-shared")["KeyCount"] == 0
