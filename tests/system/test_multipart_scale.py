"""Ten thousand parts on real processes: sent side by side, completed within seconds, read and copied without going through all of them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from typing import Any, TypeVar

import pytest

from tests.support.cluster import Cluster, running_cluster

T = TypeVar("T")
PARTS = 10_000
PART_BYTES = 700


def data_of(number: int) -> bytes:
    return (b"%06d " % number) * (PART_BYTES // 7)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("parts") / "c", "--proxies", "2", "--set", "objects.min_part_bytes=1") as running:
        for bucket in ("near", "far"):
            running.s3().create_bucket(Bucket=bucket)
        yield running


def timed(call: Callable[[], T]) -> tuple[T, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


@pytest.mark.slow
def test_an_object_of_ten_thousand_parts_is_made_read_and_copied_quickly(cluster: Cluster) -> None:
    s3, other = cluster.s3(0, max_pool_connections=16), cluster.s3(1)
    upload = s3.create_multipart_upload(Bucket="near", Key="many")["UploadId"]

    def send(number: int) -> dict[str, Any]:
        answer = s3.upload_part(Bucket="near", Key="many", UploadId=upload, PartNumber=number, Body=data_of(number))
        return {"PartNumber": number, "ETag": answer["ETag"]}

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(send, range(1, PARTS + 1)))
    where = {"Bucket": "near", "Key": "many", "UploadId": upload, "MultipartUpload": {"Parts": parts}}
    made, took = timed(lambda: s3.complete_multipart_upload(**where))
    assert took < 20  # two where nobody else uses the machine
    etag = md5(b"".join(bytes.fromhex(part["ETag"].strip('"')) for part in parts)).hexdigest()
    assert made["ETag"] == f'"{etag}-{PARTS}"'
    assert other.complete_multipart_upload(**where)["ETag"] == made["ETag"]  # once more, through another proxy
    for number in (1, 5000, PARTS):
        first = (number - 1) * PART_BYTES
        found, took = timed(lambda first=first: other.get_object(Bucket="near", Key="many", Range=f"bytes={first}-{first + 1399}"))  # type: ignore[misc]  # bound now
        assert found["Body"].read() == (data_of(number) + data_of(number + 1))[: (PARTS - number + 1) * PART_BYTES][:1400]
        assert took < 2
    assert other.get_object(Bucket="near", Key="many", PartNumber=7777)["Body"].read() == data_of(7777)
    assert s3.head_object(Bucket="near", Key="many", PartNumber=1)["PartsCount"] == PARTS
    copied, took = timed(lambda: s3.copy_object(Bucket="near", Key="copy", CopySource="near/many"))
    assert took < 5
    assert copied["CopyObjectResult"]["ETag"] == made["ETag"]
    s3.copy_object(Bucket="far", Key="copy", CopySource="near/many")
    s3.delete_object(Bucket="near", Key="many")
    whole = b"".join(map(data_of, range(1, PARTS + 1)))
    for bucket in ("near", "far"):
        assert other.get_object(Bucket=bucket, Key="copy")["Body"].read() == whole
