"""Buckets through boto3, and the honest answers about what is not set or not built."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.fronts.s3.settings import S3Settings
from tests.support.s3_raw import call
from tests.support.s3_server import BOB, EVE, Running, s3_serving


def code_of(operation: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


def test_buckets_are_made_found_and_removed(s3: Any) -> None:
    assert s3.create_bucket(Bucket="made")["Location"] == "/made"
    head = s3.head_bucket(Bucket="made")
    assert head["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="made")["LocationConstraint"] is None
    s3.put_object(Bucket="made", Key="k", Body=b"")
    assert code_of(s3.delete_bucket, Bucket="made") == (409, "BucketNotEmpty")
    s3.delete_object(Bucket="made", Key="k")
    s3.delete_bucket(Bucket="made")
    assert code_of(s3.delete_bucket, Bucket="made") == (404, "NoSuchBucket")
    assert code_of(s3.head_bucket, Bucket="made")[0] == 404


def test_names_belong_to_whoever_came_first_within_a_tenant(server: Running, s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=bucket)  # us-east-1: again is fine
    assert code_of(server.client(BOB).create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
    server.client(EVE).create_bucket(Bucket=bucket)
    elsewhere = {"LocationConstraint": "eu-west-1"}
    assert code_of(s3.create_bucket, Bucket=bucket, CreateBucketConfiguration=elsewhere) == (409, "BucketAlreadyOwnedByYou")


@pytest.mark.parametrize("name", ["ab", "a" * 64, "Under_score", "a..b", "a.-b", "1.2.3.4", "-ab", "ab-"])
def test_bucket_names_have_rules(server: Running, name: str) -> None:
    answer = call(server, "PUT", f"/{name}")
    assert (answer.status, answer.code, answer.value("BucketName")) == (400, "InvalidBucketName", name)


def test_regions_are_kept(s3: Any) -> None:
    for number, (asked, kept) in enumerate([("eu-central-1", "eu-central-1"), ("EU", "eu-west-1"), ("mars", "mars")]):
        name = f"regional-{number}"
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": asked})
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == kept
        assert s3.head_bucket(Bucket=name)["BucketRegion"] == kept
    for odd in ("not a region", "x" * 65, "<a>"):
        assert code_of(s3.create_bucket, Bucket="odd", CreateBucketConfiguration={"LocationConstraint": odd})[0] == 400


def test_a_strict_region_takes_only_itself() -> None:
    with s3_serving(settings=S3Settings(region="eu-one", strict_region=True)) as strict:
        s3 = strict.client(region="eu-one")
        s3.create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-one"})
        assert s3.get_bucket_location(Bucket="mine")["LocationConstraint"] == "eu-one"
        other = {"LocationConstraint": "eu-two"}
        assert code_of(s3.create_bucket, Bucket="other", CreateBucketConfiguration=other) == (400, "InvalidLocationConstraint")
        assert (
            code_of(s3.create_bucket, Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-one"})[1]
            == "BucketAlreadyOwnedByYou"
        )


def test_ones_own_bucket_again_must_be_what_is_there(s3: Any) -> None:
    s3.create_bucket(Bucket="again", ObjectOwnership="ObjectWriter", ACL="log-delivery-write")
    assert code_of(s3.create_bucket, Bucket="again") == (409, "BucketAlreadyExists")
    s3.create_bucket(Bucket="again", ObjectOwnership="ObjectWriter", ACL="log-delivery-write")
    s3.create_bucket(Bucket="plain")
    s3.create_bucket(Bucket="plain")
    s3.create_bucket(Bucket="plain", ACL="private", ObjectOwnership="BucketOwnerEnforced")
    for other in (
        {"ObjectLockEnabledForBucket": True},
        {"ObjectOwnership": "ObjectWriter"},
        {"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}},
        {"CreateBucketConfiguration": {"LocationConstraint": "eu-two"}},
    ):
        assert code_of(s3.create_bucket, Bucket="plain", **other) == (409, "BucketAlreadyOwnedByYou"), other
    s3.create_bucket(Bucket="locked-again", ObjectLockEnabledForBucket=True)
    s3.create_bucket(Bucket="locked-again", ObjectLockEnabledForBucket=True)


def test_odd_creations_are_refused(server: Running, s3: Any) -> None:
    assert code_of(s3.create_bucket, Bucket="public", ACL="public-read") == (400, "InvalidBucketAclWithObjectOwnership")
    assert code_of(s3.create_bucket, Bucket="owned", ObjectOwnership="Mine") == (400, "InvalidArgument")
    s3.create_bucket(Bucket="fine", ACL="private", ObjectOwnership="BucketOwnerEnforced")
    assert call(server, "PUT", "/brokenxml", b"<CreateBucketConfiguration>").code == "MalformedXML"
    assert call(server, "PUT", "/brokenxml", b"<Else/>").code == "MalformedXML"
    inner = "<Location><Type>AvailabilityZone</Type></Location>"
    assert call(server, "PUT", "/express", f"<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>".encode()).status == 501


def test_a_bucket_has_its_tags_from_the_first_moment_on(server: Running, s3: Any) -> None:
    tags = [{"Key": "team", "Value": "a b"}, {"Key": "empty", "Value": ""}]
    s3.create_bucket(Bucket="tagged-at-once", CreateBucketConfiguration={"LocationConstraint": "us-east-1", "Tags": tags})
    assert s3.get_bucket_tagging(Bucket="tagged-at-once")["TagSet"] == tags
    s3.create_bucket(Bucket="untagged", CreateBucketConfiguration={"Tags": []})
    assert code_of(s3.get_bucket_tagging, Bucket="untagged") == (404, "NoSuchTagSet")
    for odd, code in (
        ([{"Key": "aws:x", "Value": ""}], "InvalidTag"),
        ([{"Key": "a", "Value": ""}] * 2, "InvalidTag"),
        ([{"Key": f"k{n}", "Value": ""} for n in range(51)], "BadRequest"),
    ):
        assert code_of(s3.create_bucket, Bucket="odd-tags", CreateBucketConfiguration={"Tags": odd}) == (400, code)
    assert (
        call(server, "PUT", "/odd-tags", b"<CreateBucketConfiguration><Tags><Tag/></Tags></CreateBucketConfiguration>").code
        == "MalformedXML"
    )
    assert code_of(s3.head_bucket, Bucket="odd-tags")[0] == 404


def test_ones_own_buckets_are_listed_in_pages(server: Running) -> None:
    s3 = server.client(EVE)
    names = [f"page-{number:02d}" for number in range(5)]
    for name in names:
        s3.create_bucket(Bucket=name)
    first = s3.list_buckets(MaxBuckets=2, Prefix="page-")
    assert ([found["Name"] for found in first["Buckets"]], first["Prefix"]) == (names[:2], "page-")
    assert first["Buckets"][0]["BucketRegion"] == "us-east-1"
    pages = s3.get_paginator("list_buckets").paginate(Prefix="page-", PaginationConfig={"PageSize": 2})
    assert [found["Name"] for page in pages for found in page["Buckets"]] == names
    assert first["Owner"]["DisplayName"] == "eve"
    assert len(s3.list_buckets(Prefix="page-", BucketRegion="us-east-1")["Buckets"]) == len(names)
    assert s3.list_buckets(Prefix="page-", BucketRegion="eu-one").get("Buckets", []) == []
    assert call(server, "GET", "/?max-buckets=0").code == "InvalidArgument"
    assert not [found for found in server.client(BOB).list_buckets()["Buckets"] if found["Name"].startswith("page-")]


def test_virtual_host_style_names_the_bucket_in_the_host() -> None:
    with s3_serving(settings=S3Settings(domains=("localhost", "s3.example.com"))) as server:
        host = {"Host": f"my-bucket.localhost:{server.port}"}
        assert call(server, "PUT", "/", headers=host).status == 200
        assert call(server, "PUT", "/a//k", b"data", host).status == 200
        assert call(server, "GET", "/my-bucket/a//k").body == b"data"
        assert call(server, "GET", "/a//k", headers={"Host": "my-bucket.S3.example.com"}).body == b"data"
        assert call(server, "PUT", "/-/health", b"an object", host).status == 200
        assert call(server, "GET", "/-/health", headers=host).body == b"an object"
        assert b"<Key>a//k</Key>" in call(server, "GET", "/?list-type=2", headers=host).body


def test_versioning_is_off_and_says_so(server: Running, s3: Any, bucket: str) -> None:
    answer = call(server, "GET", f"/{bucket}?versioning")
    assert answer.status == 200
    assert answer.body.endswith(b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></VersioningConfiguration>')
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


UNSET = {
    "replication": "ReplicationConfigurationNotFoundError",
}  # fmt: skip


@pytest.mark.parametrize("name", UNSET)
def test_what_is_not_set_has_its_own_code_and_cannot_be_set(server: Running, bucket: str, name: str) -> None:
    answer = call(server, "GET", f"/{bucket}?{name}")
    assert (answer.status, answer.code) == (404, UNSET[name])
    assert call(server, "PUT", f"/{bucket}?{name}", b"<x/>").status == 501
    assert call(server, "GET", f"/no-such-bucket?{name}").code == "NoSuchBucket"
    assert call(server, "GET", f"/{bucket}?{name}", user=BOB).code == "AccessDenied"
    deleted = call(server, "DELETE", f"/{bucket}?{name}")
    assert deleted.status == (501 if name == "policyStatus" else 204)
    assert call(server, "GET", f"/{bucket}").status == 200


@pytest.mark.parametrize("name", ["accelerate"])
def test_configurations_whose_default_is_a_document(server: Running, bucket: str, name: str) -> None:
    answer = call(server, "GET", f"/{bucket}?{name}")
    assert (answer.status, b"<Error>" in answer.body) == (200, False)
    assert call(server, "PUT", f"/{bucket}?{name}", b"<x/>").status == 501


@pytest.mark.parametrize("query", ["session", "metadataTable", "abac"])
def test_what_is_not_built_is_never_mistaken_for_a_listing(server: Running, bucket: str, query: str) -> None:
    for method in ("GET", "PUT", "DELETE", "POST"):
        answer = call(server, method, f"/{bucket}?{query}")
        assert (answer.status, answer.code) == (501, "NotImplemented")
    assert call(server, "GET", f"/{bucket}").status == 200


def test_wrong_methods_and_two_subresources_are_refused(server: Running, bucket: str) -> None:
    assert call(server, "PUT", "/").status == 405
    assert call(server, "PATCH", f"/{bucket}").code == "MethodNotAllowed"
    assert call(server, "GET", f"/{bucket}?acl&location").code == "InvalidArgument"
    assert call(server, "POST", f"/{bucket}", b"form").status == 412
    for query in ("torrent", "select&select-type=2", "restore", "encryption"):
        assert call(server, "GET", f"/{bucket}/k?{query}").status == 501
