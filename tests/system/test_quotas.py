"""Quotas through two proxies on real processes, one of which is killed, and `objstore du` against what listings say."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.cluster import OBJSTORE, Cluster, running_cluster, wait_until

SIZE = 1000


def limit(cluster: Cluster, bucket: str, *, size: int) -> None:
    """The quota is a sub-resource that boto3 does not know; its signer does the rest."""
    import urllib.request

    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"{cluster.info['s3'][0]}/{bucket}?x-objstore-quota="
    body = f"<QuotaConfiguration><MaxBytes>{size}</MaxBytes></QuotaConfiguration>".encode()
    request = AWSRequest("PUT", url, data=body)
    S3SigV4Auth(Credentials(cluster.info["access_key"], cluster.info["secret_key"]), "s3", "us-east-1").add_auth(request)
    sent = urllib.request.Request(url, data=body, headers=dict(request.headers.items()), method="PUT")
    assert urllib.request.urlopen(sent, timeout=10).status == 200


def fits(client: Any, key: str, size: int = SIZE) -> bool:
    try:
        client.put_object(Bucket="limited", Key=key, Body=bytes(size))
    except ClientError as failure:
        if (failure.response["Error"]["Code"], failure.response["ResponseMetadata"]["HTTPStatusCode"]) != ("QuotaExceeded", 403):
            raise
        return False
    return True


def held(client: Any) -> int:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="limited")
    return sum(item["Size"] for page in pages for item in page.get("Contents", []))


def du(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    command = [OBJSTORE, "du", "--dir", str(cluster.directory), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_cluster(tmp_path_factory.mktemp("quotas") / "c") as running:
        yield running


def test_two_proxies_fill_a_bucket_exactly_and_a_third_of_it_outlives_a_crash(cluster: Cluster) -> None:
    clients = [cluster.s3(0, attempts=8), cluster.s3(1, attempts=8)]
    clients[0].create_bucket(Bucket="limited")
    limit(cluster, "limited", size=100 * SIZE)
    wait_until(lambda: not fits(clients[1], "probe", 101 * SIZE), 5, "the other proxy to know of the quota")
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda n: fits(clients[n % 2], f"k{n:03d}"), range(130)))
    assert sum(outcomes) == 100
    assert held(clients[0]) == 100 * SIZE
    assert fits(clients[0], f"k{outcomes.index(True):03d}")  # over itself
    clients[0].delete_object(Bucket="limited", Key=f"k{outcomes.index(True):03d}")
    wait_until(lambda: fits(clients[1], "more"), 2, "what was deleted to be room elsewhere")
    for n, found in enumerate(outcomes):
        if found and n % 2:
            clients[0].delete_object(Bucket="limited", Key=f"k{n:03d}")
    for n in range(10):
        assert fits(clients[1], f"again{n}")
    cluster.ctl("stop", "proxy2", "--signal", "KILL")
    cluster.ctl("start", "proxy2")
    rest = 100 * SIZE - held(clients[0])
    assert rest > 10 * SIZE

    def whole() -> bool:
        try:
            return fits(clients[0], "rest", rest)
        except ClientError as failure:
            if failure.response["Error"]["Code"] != "SlowDown":
                raise
            return False

    wait_until(whole, 60, "the room of the proxy that was killed")
    assert held(clients[1]) == 100 * SIZE
    assert not fits(clients[1], "one more", 1)


def test_du_says_what_listings_say(cluster: Cluster) -> None:
    client = cluster.s3(1)
    client.create_bucket(Bucket="shown")
    client.put_bucket_versioning(Bucket="shown", VersioningConfiguration={"Status": "Enabled"})
    for n in range(60):
        client.put_object(Bucket="shown", Key=f"d{n % 4}/e{n % 3}/f{n % 30}", Body=b"x" * n)
    for n in range(5):
        client.delete_object(Bucket="shown", Key=f"d{n % 4}/e{n % 3}/f{n}")
    upload = client.create_multipart_upload(Bucket="shown", Key="d1/large")["UploadId"]
    client.upload_part(Bucket="shown", Key="d1/large", UploadId=upload, PartNumber=1, Body=bytes(70_000))
    listed = client.list_object_versions(Bucket="shown")
    current = [v for v in listed["Versions"] if v["IsLatest"]]
    older = [v for v in listed["Versions"] if not v["IsLatest"]]
    expected = {
        "objects": len(current), "bytes": sum(v["Size"] for v in current), "versions": len(older),
        "version_bytes": sum(v["Size"] for v in older), "markers": len(listed["DeleteMarkers"]), "uploads": 1, "upload_bytes": 70_000,
    }  # fmt: skip

    def shown(*arguments: str) -> dict[str, int]:
        total = du(cluster, "--bucket", "shown", *arguments)["total"]
        return {field: total[field] for field in expected}

    assert shown("--exact") == expected
    wait_until(lambda: shown() == expected, 5, "the counters to say what the listing says")
    below = du(cluster, "--bucket", "shown", "--prefix", "d1/", "--depth", "1")
    for entry in below["entries"]:
        inside = [v for v in current if v["Key"].startswith(entry["prefix"])]
        assert (entry["objects"], entry["bytes"]) == (len(inside), sum(v["Size"] for v in inside))
    assert [entry["prefix"] for entry in below["entries"]] == ["d1/", "d1/e0/", "d1/e1/", "d1/e2/"]
    everything = du(cluster)
    assert {row["bucket"] for row in everything["buckets"]} >= {"shown", "limited"}
    total = next(row for row in everything["buckets"] if row["bucket"] == "limited")
    assert total["bytes"] == 100 * SIZE
    assert total["stored_bytes"] == 300 * SIZE
    done = subprocess.run([OBJSTORE, "du", "--dir", str(cluster.directory)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("total")
