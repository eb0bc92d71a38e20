"""Real processes from end to end: boto3 through a proxy to three storage nodes and back, over a kill of everything."""

import hashlib
import os
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until


def test_put_get_list_delete_through_two_proxies_and_a_crash_of_everything(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c") as cluster:
        one, two = cluster.s3(0), cluster.s3(1)
        one.create_bucket(Bucket="skeleton")
        bodies = {"empty": b"", "small": b"x" * 4096, "large": os.urandom(3_000_000), "odd/näme ?&+": b"odd"}
        for key, body in bodies.items():
            etag = one.put_object(Bucket="skeleton", Key=key, Body=body)["ETag"]
            assert etag == f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        _reads_back(two, bodies)
        one.delete_object(Bucket="skeleton", Key="small")
        del bodies["small"]
        with pytest.raises(ClientError, match="NoSuchKey"):
            two.get_object(Bucket="skeleton", Key="small")

        _kill_everything(cluster)
        cluster.up()
        _reads_back(cluster.s3(1), bodies)
        cluster.s3().put_object(Bucket="skeleton", Key="after", Body=b"after")
        assert cluster.s3(1).get_object(Bucket="skeleton", Key="after")["Body"].read() == b"after"


def test_one_node_of_three_may_be_dead_and_is_repaired_when_it_is_back(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1") as cluster:
        client = cluster.s3()
        client.create_bucket(Bucket="degraded")
        cluster.ctl("stop", "node2", "--signal", "KILL")
        for number in range(20):
            client.put_object(Bucket="degraded", Key=f"k{number}", Body=b"%d" % number)
        status = cluster.status()
        assert status["writable"]
        assert not status["healthy"]
        assert [n["up"] for n in status["nodes"]] == [True, False, True]
        cluster.ctl("start", "node2")
        repaired = cluster.ctl("repair", "--wait", "--timeout", "60")
        assert repaired["finished"]
        wait_until(lambda: cluster.status()["healthy"], 20, "the cluster to be healthy again")
        cluster.ctl("stop", "node1", "--signal", "KILL")
        assert client.get_object(Bucket="degraded", Key="k7")["Body"].read() == b"7"


def _reads_back(client: object, bodies: dict[str, bytes]) -> None:
    for key, body in bodies.items():
        assert client.get_object(Bucket="skeleton", Key=key)["Body"].read() == body, key  # type: ignore[attr-defined]
    listed = client.list_objects_v2(Bucket="skeleton")["Contents"]  # type: ignore[attr-defined]
    assert [(e["Key"], e["Size"]) for e in listed] == sorted(((k, len(b)) for k, b in bodies.items()), key=lambda pair: pair[0].encode())


def _kill_everything(cluster: Cluster) -> None:
    pids = cluster.all_pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), 5, "all processes to be gone")
