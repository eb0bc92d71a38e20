"""Growing, draining, shrinking, and a wiped disk, on real processes through `objstore ctl`."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until

KEYS = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("ring") / "c", "--set", "daemons.replicate_interval_s=1") as running:
        client = running.s3()
        client.create_bucket(Bucket="ring")
        for number in range(KEYS):
            client.put_object(Bucket="ring", Key=f"k{number:03d}", Body=_body(number))
        yield running


def _body(number: int) -> bytes:
    return b"%d " % number * (50_000 if number % 10 == 0 else 100)


def _all_there(cluster: Cluster) -> None:
    for proxy in (0, 1):
        client = cluster.s3(proxy)
        assert [e["Key"] for e in client.list_objects_v2(Bucket="ring")["Contents"]] == [f"k{n:03d}" for n in range(KEYS)]
        for number in range(0, KEYS, 7):
            assert client.get_object(Bucket="ring", Key=f"k{number:03d}")["Body"].read() == _body(number)


def _settled(cluster: Cluster, epoch: int) -> dict[str, Any]:
    def settled() -> bool:
        status = cluster.status()
        return status["epoch"] >= epoch and not status["changing"] and status["healthy"]

    wait_until(settled, 60, f"the ring change of epoch {epoch} to be carried out")
    return cluster.status()


def test_a_new_node_takes_its_share(cluster: Cluster) -> None:
    added = cluster.ctl("add-node", "--devices", "2")
    assert (added["name"], added["port"], added["zone"]) == ("node4", cluster.port_base + 103, 1)
    assert added["moves"] > 0
    _all_there(cluster)
    status = _settled(cluster, added["epoch"])
    assert [len(node["devices"]) for node in status["nodes"]] == [1, 1, 1, 2]
    _all_there(cluster)
    assert any(device["rows"] for device in status["nodes"][3]["devices"])
    found = [cluster.ctl("where", f"ring/k{n:03d}") for n in range(12)]
    assert any(p["node"] == "node4" and p["state"] == "object" for f in found for p in f["primaries"])


def _unchanged(cluster: Cluster, before: dict[str, Any]) -> None:
    status = cluster.status()
    assert [node["name"] for node in status["nodes"]] == [node["name"] for node in before["nodes"]]
    assert not (cluster.directory / "node5").exists()
    assert "node5" not in cluster.pids()
    assert "node5" not in (cluster.directory / "cluster.toml").read_text()


def test_a_node_that_is_refused_is_taken_back(cluster: Cluster) -> None:
    before = cluster.status()
    for words, refused, why in (
        (["--weight", "1e30"], 1, "weight"),
        (["--weight", "-1"], 2, "weight"),
        (["--devices", "0"], 2, "--devices"),
    ):
        code, answer = cluster.try_ctl("add-node", *words)
        assert code == refused
        assert why in answer["error"]
        _unchanged(cluster, before)


def test_a_second_change_is_refused_while_the_first_is_carried_out(cluster: Cluster) -> None:
    cluster.ctl("stop", "node2", "--signal", "STOP")  # a primary that hangs keeps the handover from ending
    try:
        drained = cluster.ctl("drain", "node1")
        before = cluster.status()
        assert before["changing"]
        for words in (["add-node"], ["drain", "node3"], ["remove", "node1"]):
            code, answer = cluster.try_ctl(*words)
            assert code == 1, words
            assert "changing: false" in answer["error"]
        _unchanged(cluster, before)
        assert not any(node["leaving"] for node in cluster.status()["nodes"])
    finally:
        cluster.ctl("stop", "node2", "--signal", "CONT")
    _settled(cluster, drained["epoch"])


def test_a_drained_node_holds_nothing_and_then_goes(cluster: Cluster) -> None:
    drained = cluster.ctl("drain", "node1")
    _settled(cluster, drained["epoch"])
    found = [cluster.ctl("where", f"ring/k{n:03d}") for n in range(12)]
    assert all(p["node"] != "node1" for f in found for p in f["primaries"])
    pid = cluster.pids()["node1"]
    removed = cluster.ctl("remove", "node1")
    wait_until(lambda: "node1" not in cluster.pids(), 60, "the process of the removed node to end")
    assert not is_running(pid)
    status = _settled(cluster, removed["epoch"])
    assert [node["name"] for node in status["nodes"]] == ["node2", "node3", "node4"]
    _all_there(cluster)


def test_a_ring_that_cannot_be_is_refused_and_nothing_changes(cluster: Cluster) -> None:
    epoch = cluster.status()["epoch"]
    code, answer = cluster.try_ctl("remove", "node4")
    assert code == 1
    assert "2 devices cannot hold 3 replicas" in answer["error"]
    status = cluster.status()
    assert status["epoch"] == epoch
    assert not any(node["leaving"] for node in status["nodes"])


def test_after_the_changes_a_restart_brings_the_same_cluster_back(cluster: Cluster) -> None:
    epoch = cluster.status()["epoch"]
    cluster.down()
    info = cluster.up()
    assert [node["name"] for node in info["nodes"]] == ["node2", "node3", "node4"]
    assert cluster.status()["epoch"] >= epoch
    _all_there(cluster)


def test_a_wiped_disk_is_taken_in_anew_and_refilled(cluster: Cluster) -> None:
    before = cluster.status()["epoch"]
    cluster.ctl("stop", "node3", "--signal", "KILL")
    device = Path(cluster.directory / "node3" / "d1")
    shutil.rmtree(device)
    cluster.ctl("start", "node3")
    _settled(cluster, before + 1)
    assert (device / "identity").exists()
    _all_there(cluster)
    found = [cluster.ctl("where", f"ring/k{n:03d}") for n in range(12)]
    on_node3 = [p for f in found for p in f["primaries"] if p["node"] == "node3"]
    assert on_node3
    assert all(p["state"] == "object" for p in on_node3)
