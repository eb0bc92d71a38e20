"""Object ownership and public access block through boto3."""

from typing import Any

import pytest

from objstore.objects.context import ObjectSettings
from tests.support.s3_raw import call, send
from tests.support.s3_server import BOB, Running, s3_serving
from tests.unit.fronts.s3.test_buckets import code_of

ALL = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


def rules(name: str) -> dict[str, Any]:
    return {"Rules": [{"ObjectOwnership": name}]}


def test_new_buckets_begin_closed(s3: Any, bucket: str) -> None:
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == ALL
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == rules("BucketOwnerEnforced")


def test_ownership_is_set_shown_and_taken_away(server: Running, s3: Any, bucket: str) -> None:
    for name in ("ObjectWriter", "BucketOwnerPreferred", "BucketOwnerEnforced"):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules(name))
        assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == rules(name)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert code_of(s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")
    s3.create_bucket(Bucket=f"{bucket}-b", ObjectOwnership="BucketOwnerPreferred")
    assert s3.get_bucket_ownership_controls(Bucket=f"{bucket}-b")["OwnershipControls"] == rules("BucketOwnerPreferred")
    assert call(server, "GET", f"/{bucket}?ownershipControls", user=BOB).code == "AccessDenied"


@pytest.mark.parametrize("inner", ["", "<Rule/>", "<Rule><ObjectOwnership>Mine</ObjectOwnership></Rule>", "<Else/>", "<Rule/><Rule/>"])
def test_bad_ownership_documents_are_refused(server: Running, bucket: str, inner: str) -> None:
    data = f"<OwnershipControls>{inner}</OwnershipControls>".encode()
    assert call(server, "PUT", f"/{bucket}?ownershipControls", data).code == "MalformedXML"


def test_lists_cannot_be_turned_off_while_the_bucket_has_one(s3: Any, bucket: str) -> None:
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules("ObjectWriter"))
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    refused = code_of(s3.put_bucket_ownership_controls, Bucket=bucket, OwnershipControls=rules("BucketOwnerEnforced"))
    assert refused == (400, "InvalidBucketAclWithObjectOwnership")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules("BucketOwnerEnforced"))


def test_the_block_is_set_shown_and_taken_away(server: Running, s3: Any, bucket: str) -> None:
    partly = {**ALL, "IgnorePublicAcls": False, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=partly)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == partly
    s3.delete_public_access_block(Bucket=bucket)
    assert code_of(s3.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    for inner in ("<Else/>", "<BlockPublicAcls>perhaps</BlockPublicAcls>"):
        data = f"<PublicAccessBlockConfiguration>{inner}</PublicAccessBlockConfiguration>".encode()
        assert call(server, "PUT", f"/{bucket}?publicAccessBlock", data).code == "MalformedXML"


def test_public_lists_are_ignored_while_the_block_says_so(server: Running, s3: Any, bucket: str) -> None:
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules("ObjectWriter"))
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="public-read")
    assert send(server, "GET", f"/{bucket}/k").status == 200
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert send(server, "GET", f"/{bucket}/k").status == 403
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_store_may_make_buckets_as_amazon_did_before() -> None:
    settings = ObjectSettings(bucket_cache_s=0.02, new_bucket_ownership="", new_bucket_block_public=False)
    with s3_serving(store_settings=settings) as old:
        s3 = old.client()
        s3.create_bucket(Bucket="open", ACL="public-read")
        assert code_of(s3.get_bucket_ownership_controls, Bucket="open")[0] == 404
        assert send(old, "GET", "/open").status == 200
        assert send(old, "GET", "/open/missing").code == "NoSuchKey"
