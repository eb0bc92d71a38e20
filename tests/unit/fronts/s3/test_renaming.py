from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.s3_raw import call
from tests.support.s3_server import BOB, Running


def test_objects_are_renamed(s3: Any, bucket: str) -> None:
    old = s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"data", Metadata={"m": "1"})
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="a%20b/%C3%BC", DestinationIfNoneMatch="*", ClientToken="token")
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="a%20b/%C3%BC", DestinationIfNoneMatch="*", ClientToken="token")
    found = s3.get_object(Bucket=bucket, Key="new")
    assert (found["Body"].read(), found["ETag"], found["Metadata"]) == (b"data", old["ETag"], {"m": "1"})
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["new"]
    s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    with pytest.raises(ClientError) as refused:
        s3.rename_object(Bucket=bucket, Key="new", RenameSource="/other", DestinationIfNoneMatch="*")
    assert refused.value.response["Error"]["Code"] == "PreconditionFailed"
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="/other", SourceIfMatch='"9dd4e461268c8034f5c8564e155c67a6"')
    assert s3.get_object(Bucket=bucket, Key="new")["Body"].read() == b"x"


def test_wrong_renames_are_refused(server: Running, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for headers, code in (
        ({}, "InvalidRequest"),
        ({"x-amz-rename-source": "k"}, "InvalidRequest"),
        ({"x-amz-rename-source": "%ff"}, "InvalidArgument"),
        ({"x-amz-rename-source": "never"}, "NoSuchKey"),
        ({"x-amz-rename-source": "k", "x-amz-client-token": "a b"}, "InvalidArgument"),
    ):
        assert call(server, "PUT", f"/{bucket}/k?renameObject", b"", headers).code == code
    assert call(server, "PUT", f"/{bucket}/new?renameObject", b"", {"x-amz-rename-source": "k"}, user=BOB).status == 403
    assert call(server, "PUT", f"/{bucket}/new", b"x", {"x-amz-rename-source": "k"}).status == 501
