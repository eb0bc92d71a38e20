"""Versions, locks, appends and renames on real processes, through both proxies, with a node that dies in the middle."""

import concurrent.futures
import datetime
import os
import random
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, running_cluster

SIZES = (0, 5, 3000, 200_000)


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def listed(client: Any, bucket: str, page: int) -> list[tuple[str, str, bool, bool]]:
    """Key, version id, is latest, is marker: in the order of each kind."""
    found = []
    for answer in client.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": page}):
        found += [(v["Key"], v["VersionId"], v["IsLatest"], False) for v in answer.get("Versions", [])]
        found += [(v["Key"], v["VersionId"], v["IsLatest"], True) for v in answer.get("DeleteMarkers", [])]
    return found


class Twin:
    """What a bucket must hold: per key its versions, newest first, each with its body (None: a delete marker) and tags."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys: dict[str, list[list[Any]]] = {}
        self.state = ""

    def add(self, key: str, version: str, body: bytes | None) -> None:
        versions = self.keys.setdefault(key, [])
        if version == "null":
            versions[:] = [item for item in versions if item[0] != "null"]
        versions.insert(0, [version, body, {}])

    def step(self, client: Any, bucket: str) -> None:
        rng = self.random
        key, turn = rng.choice(("a", "b/1", "b/2")), rng.random()
        versions = self.keys.get(key, [])
        if turn < 0.06:
            self.state = rng.choice(("Enabled", "Suspended"))
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": self.state})
        elif turn < 0.5:
            body = os.urandom(rng.choice(SIZES))
            answer = client.put_object(Bucket=bucket, Key=key, Body=body)
            self.add(key, answer.get("VersionId", "null"), body)
        elif turn < 0.62:
            answer = client.delete_object(Bucket=bucket, Key=key)
            if self.state:
                self.add(key, answer["VersionId"], None)
            else:
                self.keys.pop(key, None)
        elif turn < 0.75 and any(body is not None for _, body, _ in versions):
            item = rng.choice([item for item in versions if item[1] is not None])
            item[2] = {"n": str(rng.random())}
            tags = {"TagSet": [{"Key": "n", "Value": item[2]["n"]}]}
            client.put_object_tagging(Bucket=bucket, Key=key, VersionId=item[0], Tagging=tags)
        elif versions:
            item = rng.choice(versions)
            client.delete_object(Bucket=bucket, Key=key, VersionId=item[0])
            versions.remove(item)

    def check(self, client: Any, bucket: str) -> None:
        expected = [
            (key, version, index == 0, body is None) for key in sorted(self.keys) for index, (version, body, _) in enumerate(self.keys[key])
        ]
        found = listed(client, bucket, self.random.choice((1, 3, 1000)))
        assert sorted(found) == sorted(expected)
        for marker in (False, True):  # the order of each kind is told
            page = [item for item in listed(client, bucket, 1000) if item[3] is marker]
            assert page == [item for item in expected if item[3] is marker]
        for key, versions in self.keys.items():
            for version, body, tags in versions:
                if body is None:
                    continue
                answer = client.get_object(Bucket=bucket, Key=key, VersionId=version)
                assert answer["Body"].read() == body
                found_tags = client.get_object_tagging(Bucket=bucket, Key=key, VersionId=version)["TagSet"]
                assert {tag["Key"]: tag["Value"] for tag in found_tags} == tags
            if versions and versions[0][1] is not None:
                assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == versions[0][1]
            else:
                assert code_of(client.get_object, Bucket=bucket, Key=key) == "NoSuchKey"


def any_sequence_of_changes(cluster: Cluster, steps: int) -> None:
    clients = [cluster.s3(proxy, attempts=6) for proxy in (0, 1)]
    clients[0].create_bucket(Bucket="twin")
    twin = Twin(5)
    for step in range(steps):
        twin.step(clients[step % 2], "twin")
        if step % 10 == 9:
            twin.check(clients[(step // 10) % 2], "twin")
        if step == steps // 3:
            cluster.ctl("stop", "node2", "--signal", "KILL")
        if step == 2 * steps // 3:
            cluster.ctl("start", "node2")
    twin.check(clients[0], "twin")


def emptied_by_bulk_deletes(cluster: Cluster) -> None:
    client = cluster.s3()
    assert code_of(client.delete_bucket, Bucket="twin") == "BucketNotEmpty"
    while found := listed(client, "twin", 1000):
        objects = [{"Key": key, "VersionId": version} for key, version, _, _ in found[:1000]]
        assert "Errors" not in client.delete_objects(Bucket="twin", Delete={"Objects": objects})
    client.delete_bucket(Bucket="twin")


def racing_writers_lose_no_version(cluster: Cluster) -> None:
    client = cluster.s3()
    client.create_bucket(Bucket="race")
    client.put_bucket_versioning(Bucket="race", VersioningConfiguration={"Status": "Enabled"})

    def put(number: int) -> tuple[str, bytes]:
        body = b"%d" % number
        return cluster.s3(number % 2, attempts=1).put_object(Bucket="race", Key="k", Body=body)["VersionId"], body

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        versions = dict(pool.map(put, range(60)))
    assert len(versions) == 60
    found = listed(client, "race", 1000)
    assert [version for _, version, _, _ in found] == sorted(versions, reverse=True)
    assert [latest for _, _, latest, _ in found] == [True, *[False] * 59]
    for version, body in versions.items():
        assert client.get_object(Bucket="race", Key="k", VersionId=version)["Body"].read() == body
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        removed = sorted(versions)[1:]
        list(pool.map(lambda version: client.delete_object(Bucket="race", Key="k", VersionId=version), removed))
    assert client.get_object(Bucket="race", Key="k")["Body"].read() == versions[min(versions)]


def locks_hold(cluster: Cluster) -> None:
    client = cluster.s3()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    version = client.put_object(Bucket="locked", Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)[
        "VersionId"
    ]
    client.put_object(Bucket="locked", Key="k", Body=b"y" * 200_000)
    client.put_object_legal_hold(Bucket="locked", Key="k", VersionId=version, LegalHold={"Status": "ON"})
    assert code_of(client.delete_object, Bucket="locked", Key="k", VersionId=version) == "AccessDenied"
    client.put_object_legal_hold(Bucket="locked", Key="k", VersionId=version, LegalHold={"Status": "OFF"})
    client.delete_object(Bucket="locked", Key="k", VersionId=version, BypassGovernanceRetention=True)
    assert client.get_object(Bucket="locked", Key="k")["Body"].read() == b"y" * 200_000


def appends_from_both_proxies_keep_their_order(cluster: Cluster) -> None:
    clients = [cluster.s3(proxy) for proxy in (0, 1)]
    clients[0].create_bucket(Bucket="logs")
    whole = b""
    for number in range(40):
        line = os.urandom(random.Random(number).choice((10, 500, 70_000)))
        answer = clients[number % 2].put_object(Bucket="logs", Key="log", Body=line, WriteOffsetBytes=len(whole))
        whole += line
        assert answer["Size"] == len(whole)
    assert code_of(clients[0].put_object, Bucket="logs", Key="log", Body=b"x", WriteOffsetBytes=1) == "InvalidWriteOffset"
    assert clients[1].get_object(Bucket="logs", Key="log")["Body"].read() == whole


def renames_take_parts_along(cluster: Cluster) -> None:
    clients = [cluster.s3(proxy) for proxy in (0, 1)]
    clients[0].create_bucket(Bucket="names")
    upload = clients[0].create_multipart_upload(Bucket="names", Key="n0")["UploadId"]
    sent = [os.urandom(5 << 20), os.urandom(100_000)]
    parts = [
        {"PartNumber": n, "ETag": clients[1].upload_part(Bucket="names", Key="n0", UploadId=upload, PartNumber=n, Body=data)["ETag"]}
        for n, data in enumerate(sent, 1)
    ]
    clients[0].complete_multipart_upload(Bucket="names", Key="n0", UploadId=upload, MultipartUpload={"Parts": parts})
    clients[1].put_object(Bucket="names", Key="small", Body=b"small")
    for turn in range(3):
        clients[turn % 2].rename_object(Bucket="names", Key=f"n{turn + 1}", RenameSource=f"n{turn}", ClientToken=f"t{turn}")
        clients[turn % 2].rename_object(Bucket="names", Key=f"n{turn + 1}", RenameSource=f"n{turn}", ClientToken=f"t{turn}")
    clients[0].rename_object(Bucket="names", Key="n0", RenameSource="small")
    assert clients[1].get_object(Bucket="names", Key="n3")["Body"].read() == b"".join(sent)
    assert [item["Key"] for item in clients[1].list_objects_v2(Bucket="names")["Contents"]] == ["n0", "n3"]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
def test_versions_locks_and_appends_on_real_processes(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path, *(["--tls"] if tls else [])) as cluster:
        any_sequence_of_changes(cluster, 60 if tls else 150)
        emptied_by_bulk_deletes(cluster)
        locks_hold(cluster)
        appends_from_both_proxies_keep_their_order(cluster)
        renames_take_parts_along(cluster)
        racing_writers_lose_no_version(cluster)
