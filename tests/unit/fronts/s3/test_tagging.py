"""Tags of buckets."""

from typing import Any

import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import Running


def tagging(pairs: list[tuple[str, str]]) -> bytes:
    tags = "".join(f"<Tag><Key>{name}</Key><Value>{value}</Value></Tag>" for name, value in pairs)
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>".encode()


def test_fifty_tags_are_kept_in_order(server: Running, s3: Any, bucket: str) -> None:
    tags = [{"Key": f"k{number:02}", "Value": "v ü+-=._:/@"} for number in range(50)]
    done = s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags[:1]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags[:1]
    s3.delete_bucket_tagging(Bucket=bucket)
    assert call(server, "GET", f"/{bucket}?tagging").code == "NoSuchTagSet"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (tagging([(f"k{number}", "") for number in range(51)]), "BadRequest"),
        (tagging([("a", "1"), ("a", "2")]), "InvalidTag"),
        (tagging([("", "1")]), "InvalidTag"),
        (tagging([("k" * 129, "1")]), "InvalidTag"),
        (tagging([("k", "v" * 257)]), "InvalidTag"),
        (tagging([("k!", "v")]), "InvalidTag"),
        (tagging([("aws:k", "v")]), "InvalidTag"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        (b"<Tagging><TagSet><Tug/></TagSet></Tagging>", "MalformedXML"),
    ],
)
def test_tags_beyond_the_limits_are_refused(server: Running, bucket: str, document: bytes, code: str) -> None:
    assert call(server, "PUT", f"/{bucket}?tagging", document).code == code
    assert call(server, "GET", f"/{bucket}?tagging").code == "NoSuchTagSet"
