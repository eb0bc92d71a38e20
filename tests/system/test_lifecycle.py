"""Lifecycle rules on real processes, with days of two seconds."""

from pathlib import Path

import pytest

from tests.support.cluster import running_cluster, wait_until


def test_versions_and_markers_go(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=2") as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="timed")
        s3.put_bucket_versioning(Bucket="timed", VersioningConfiguration={"Status": "Enabled"})
        for key in ("go/1", "go/1", "go/2", "stay/1"):
            s3.put_object(Bucket="timed", Key=key, Body=b"data")
        rule = {
            "ID": "go", "Filter": {"Prefix": "go/"}, "Status": "Enabled", "Expiration": {"Days": 1},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        }  # fmt: skip
        s3.put_bucket_lifecycle_configuration(Bucket="timed", LifecycleConfiguration={"Rules": [rule]})

        def versions() -> list[str]:
            page = s3.list_object_versions(Bucket="timed")
            return [item["Key"] for item in page.get("Versions", []) + page.get("DeleteMarkers", [])]

        wait_until(lambda: versions() == ["stay/1"], 60, "all that is due to be gone, markers too")
        assert s3.get_object(Bucket="timed", Key="stay/1")["Body"].read() == b"data"


@pytest.mark.parametrize("how", [(), ("--tls",)], ids=["http", "tls"])
def test_rules_are_obeyed_also_by_a_daemon_that_was_killed(tmp_path: Path, how: tuple[str, ...]) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=2", *how) as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="timed")
        for key in ("go/1", "go/2", "stay/1"):
            s3.put_object(Bucket="timed", Key=key, Body=b"data")
        s3.create_multipart_upload(Bucket="timed", Key="go/up")
        rule = {
            "ID": "go", "Filter": {"Prefix": "go/"}, "Status": "Enabled", "Expiration": {"Days": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }  # fmt: skip
        s3.put_bucket_lifecycle_configuration(Bucket="timed", LifecycleConfiguration={"Rules": [rule]})
        assert 'rule-id="go"' in s3.head_object(Bucket="timed", Key="go/1")["Expiration"]
        daemon = next(name for name in cluster.pids() if name.startswith("daemon"))
        cluster.ctl("stop", daemon, "--signal", "KILL")
        cluster.ctl("start", daemon)

        def keys() -> list[str]:
            return [item["Key"] for item in s3.list_objects_v2(Bucket="timed")["Contents"]]

        wait_until(lambda: keys() == ["stay/1"], 60, "all that is due to be gone")
        wait_until(lambda: "Uploads" not in s3.list_multipart_uploads(Bucket="timed"), 20, "the upload to be given up")
        assert s3.get_object(Bucket="timed", Key="stay/1")["Body"].read() == b"data"


def test_objects_change_their_storage_class(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", "--set", "lifecycle.seconds_per_day=2") as cluster:
        s3 = cluster.s3()
        s3.create_bucket(Bucket="timed")
        bodies = {"small": b"data", "large": bytes(200_000)}
        for key, data in bodies.items():
            s3.put_object(Bucket="timed", Key=key, Body=data)
        before = {key: s3.head_object(Bucket="timed", Key=key) for key in bodies}
        rule = {"ID": "cold", "Filter": {}, "Status": "Enabled", "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}]}
        s3.put_bucket_lifecycle_configuration(Bucket="timed", LifecycleConfiguration={"Rules": [rule]})

        def classes() -> list[str]:
            return [item["StorageClass"] for item in s3.list_objects_v2(Bucket="timed")["Contents"]]

        wait_until(lambda: classes() == ["STANDARD_IA", "STANDARD"], 60, "the large object to have its class")
        for key, data in bodies.items():
            found = s3.get_object(Bucket="timed", Key=key)
            assert (found["ETag"], found["LastModified"], found["Body"].read()) == (before[key]["ETag"], before[key]["LastModified"], data)
        assert s3.head_object(Bucket="timed", Key="large")["StorageClass"] == "STANDARD_IA"
