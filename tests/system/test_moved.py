"""A cluster whose directory was given another name: the ring follows, and a disk that is wiped there is taken in as ever."""

import shutil
from pathlib import Path

from tests.support.cluster import Cluster, free_port_base, wait_until


def test_a_disk_wiped_in_a_directory_that_was_moved_is_taken_in_anew(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "before", free_port_base())
    try:
        cluster.up("--proxies", "1", "--set", "daemons.replicate_interval_s=1")
        client = cluster.s3()
        client.create_bucket(Bucket="moved")
        client.put_object(Bucket="moved", Key="k", Body=b"x" * 100_000)
        cluster.down()
        cluster.directory = (tmp_path / "before").rename(tmp_path / "after")
        cluster.up()
        epoch = cluster.status()["epoch"]
        cluster.ctl("stop", "node3", "--signal", "KILL")
        shutil.rmtree(cluster.directory / "node3" / "d1")
        cluster.ctl("start", "node3")

        def settled() -> bool:
            status = cluster.status()
            return status["epoch"] > epoch and not status["changing"] and bool(status["healthy"])

        wait_until(settled, 60, "the wiped disk to be taken in and filled")
        cluster.ctl("repair", "--wait")
        for replica in cluster.ctl("where", "moved/k")["primaries"]:
            assert replica["state"] == "object"
            assert Path(replica["file"]).exists()
            assert str(cluster.directory) in replica["file"]
    finally:
        cluster.down()
