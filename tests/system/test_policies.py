"""Storage policies on real processes: three nodes for rows, further nodes for the bodies of a class."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, running_cluster, wait_until

MIB = 1 << 20
CLASSES = 'objects.storage_classes={"STANDARD_IA":"cold"}'


def bodies(cluster: Cluster, node: str) -> int:
    """Bytes of blobs on a node's disk."""
    files = (path.stat() for path in (cluster.directory / node).rglob("blobs/**/*") if path.is_file())
    return sum(stat.st_size for stat in files if stat.st_blocks)


def default(cluster: Cluster) -> list[int]:
    return [bodies(cluster, f"node{number}") for number in (1, 2, 3)]


def read(s3: Any, key: str, **more: Any) -> bytes:
    data: bytes = s3.get_object(Bucket="kept", Key=key, **more)["Body"].read()
    return data


@pytest.mark.parametrize("how", [(), ("--tls",)], ids=["http", "tls"])
def test_bodies_of_a_class_lie_on_its_nodes_and_are_there_while_one_is_not(tmp_path: Path, how: tuple[str, ...]) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--policy", "cold=3:2", "--set", CLASSES, *how) as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="kept")
        large = os.urandom(MIB)
        s3.put_object(Bucket="kept", Key="plain", Body=b"data", StorageClass="STANDARD_IA")
        for number in range(4):
            s3.put_object(Bucket="kept", Key=f"k{number}", Body=large, StorageClass="STANDARD_IA")
        parts = [os.urandom(5 * MIB), os.urandom(MIB)]
        upload = s3.create_multipart_upload(Bucket="kept", Key="m", StorageClass="STANDARD_IA")["UploadId"]
        cluster.ctl("stop", "node4", "--signal", "KILL")
        assert not cluster.status()["healthy"]
        assert cluster.status()["writable"]
        for number in range(4):
            assert read(s3, f"k{number}") == large
            assert read(s3, f"k{number}", Range="bytes=1000-99999") == large[1000:100_000]
        sent = []
        for number, data in enumerate(parts, 1):
            tag = s3.upload_part(Bucket="kept", Key="m", UploadId=upload, PartNumber=number, Body=data)["ETag"]
            sent.append({"PartNumber": number, "ETag": tag})
        s3.complete_multipart_upload(Bucket="kept", Key="m", UploadId=upload, MultipartUpload={"Parts": sent})
        assert read(s3, "m") == b"".join(parts)
        s3.put_object(Bucket="kept", Key="new", Body=large, StorageClass="STANDARD_IA")
        s3.copy_object(Bucket="kept", Key="warm", CopySource="kept/new", StorageClass="STANDARD")
        assert (read(s3, "new"), read(s3, "warm"), read(s3, "plain")) == (large, large, b"data")
        s3.delete_object(Bucket="kept", Key="warm")
        wait_until(lambda: default(cluster) == [0, 0, 0], 20, "no body on the nodes of rows")
        cluster.ctl("start", "node4")
        assert cluster.ctl("repair", "--wait")["finished"]
        assert cluster.ctl("audit", "--wait")["finished"]
        status = cluster.status()
        assert (status["healthy"], status["policies"][0]["name"], len(status["policies"][0]["nodes"])) == (True, "cold", 3)


def test_transitions_move_bytes_and_reclaiming_frees_the_old_ones(tmp_path: Path) -> None:
    settings = ("lifecycle.seconds_per_day=2", "objects.part_grace_s=2", "daemons.reclaim_interval_s=1", CLASSES)
    with running_cluster(
        tmp_path / "c", "--proxies", "1", "--policy", "cold=2", *(word for text in settings for word in ("--set", text))
    ) as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="kept")
        s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        large, old, parts = os.urandom(MIB), os.urandom(MIB), [os.urandom(5 * MIB), os.urandom(MIB)]
        s3.put_object(Bucket="kept", Key="k", Body=old)
        s3.put_object(Bucket="kept", Key="k", Body=large, Metadata={"a": "b"}, ServerSideEncryption="AES256")
        upload = s3.create_multipart_upload(Bucket="kept", Key="m")["UploadId"]
        sent = [
            {"PartNumber": n, "ETag": s3.upload_part(Bucket="kept", Key="m", UploadId=upload, PartNumber=n, Body=data)["ETag"]}
            for n, data in enumerate(parts, 1)
        ]
        s3.complete_multipart_upload(Bucket="kept", Key="m", UploadId=upload, MultipartUpload={"Parts": sent})
        before = s3.list_object_versions(Bucket="kept")["Versions"]
        assert bodies(cluster, "node4") == 0
        assert all(size > 7 * MIB for size in default(cluster))
        rule = {
            "ID": "cold", "Filter": {}, "Status": "Enabled", "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}],
            "NoncurrentVersionTransitions": [{"NoncurrentDays": 1, "StorageClass": "STANDARD_IA"}],
        }  # fmt: skip
        s3.put_bucket_lifecycle_configuration(Bucket="kept", LifecycleConfiguration={"Rules": [rule]})

        def versions() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = s3.list_object_versions(Bucket="kept")["Versions"]
            return found

        wait_until(lambda: all(item["StorageClass"] == "STANDARD_IA" for item in versions()), 60, "all versions to have their class")
        assert [{**item, "StorageClass": "STANDARD"} for item in versions()] == before
        wait_until(lambda: default(cluster) == [0, 0, 0], 60, "the bytes to be gone from the nodes of rows")
        assert all(bodies(cluster, node) > 7 * MIB for node in ("node4", "node5"))
        assert (read(s3, "k"), read(s3, "k", VersionId=before[1]["VersionId"]), read(s3, "m")) == (large, old, b"".join(parts))
        for item in versions():
            s3.delete_object(Bucket="kept", Key=item["Key"], VersionId=item["VersionId"])
        wait_until(lambda: bodies(cluster, "node4") + bodies(cluster, "node5") == 0, 60, "bodies without names to be gone")


def test_the_nodes_of_a_policy_come_and_go_under_their_own_ring(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--policy", "cold=2:1") as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="kept")
        large = os.urandom(MIB)
        for number in range(6):
            s3.put_object(Bucket="kept", Key=f"k{number}", Body=large, StorageClass="COLD")
        assert s3.head_object(Bucket="kept", Key="k0")["StorageClass"] == "COLD"
        assert sum(bodies(cluster, node) for node in ("node4", "node5")) < 7 * MIB  # one copy of each
        epoch = cluster.status()["epoch"]
        made = cluster.ctl("add-node", "--policy", "cold")
        assert made["name"] == "node6"
        assert cluster.ctl("repair", "--wait")["finished"]
        cluster.ctl("remove", "node4")
        assert cluster.ctl("repair", "--wait")["finished"]
        wait_until(lambda: "node4" not in cluster.pids(), 30, "the removed node to end")
        for number in range(6):
            assert read(s3, f"k{number}") == large
        status = cluster.status()
        assert (status["epoch"], status["policies"][0]["epoch"] > 1, status["healthy"]) == (epoch, True, True)
        assert [node["name"] for node in status["policies"][0]["nodes"]] == ["node5", "node6"]
        cluster.down()
        cluster.up()
        assert read(cluster.s3(), "k3") == large


def test_a_running_cluster_is_given_a_policy(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "2") as cluster:
        cluster.s3().create_bucket(Bucket="kept")
        large = os.urandom(MIB)
        cluster.s3().put_object(Bucket="kept", Key="k", Body=large)
        code, answer = cluster.try_ctl("up", "--set", CLASSES)
        assert (code, "'cold', which is not there" in answer["error"]) == (1, True)
        made = cluster.ctl("add-policy", "cold=2")
        assert (made["name"], made["replicas"], [node["name"] for node in made["nodes"]]) == ("cold", 2, ["node4", "node5"])
        assert made["restarted"] == ["proxy1", "proxy2", "daemon1", "services1"]
        cluster.s3(0).copy_object(Bucket="kept", Key="c", CopySource="kept/k", StorageClass="COLD")
        assert read(cluster.s3(1), "c") == read(cluster.s3(0), "k") == large
        assert bodies(cluster, "node4") > MIB
        assert cluster.try_ctl("add-policy", "cold=2")[0] == 1
        wait_until(lambda: cluster.status()["healthy"], 30, "all to be well")


def test_of_two_copies_the_one_that_is_left_heals_the_other(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--policy", "cold=2", "--set", CLASSES) as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="kept")
        large = os.urandom(MIB)
        for number in range(4):
            s3.put_object(Bucket="kept", Key=f"k{number}", Body=large, StorageClass="STANDARD_IA")
        blob = next(path for path in (cluster.directory / "node4").rglob("blobs/**/*") if path.is_file() and path.stat().st_blocks)
        with blob.open("r+b") as file:
            file.seek(5000)
            file.write(b"rot")
        assert [read(s3, f"k{number}") == large for number in range(4)] == [True] * 4
        assert cluster.ctl("audit", "--wait")["finished"]
        cluster.ctl("stop", "node5", "--signal", "KILL")
        shutil.rmtree(cluster.directory / "node5" / "d1")
        cluster.ctl("start", "node5")
        assert cluster.ctl("repair", "--wait")["finished"]
        wait_until(lambda: cluster.status()["healthy"], 30, "the ring of the policy to be whole")
        cluster.ctl("stop", "node4", "--signal", "KILL")
        assert [read(s3, f"k{number}") == large for number in range(4)] == [True] * 4
