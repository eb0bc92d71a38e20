"""The block storage service on real processes: services killed in the middle of everything, space that comes back, both transports."""

import http.client
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import OBJSTORE, Cluster, is_running, running_cluster, wait_until
from tests.system.test_openstack_identity import Cloud, administrator
from tests.system.test_openstack_image import OCTETS, asked, connect, made

MIB = 1024 * 1024
PATIENCE_S = 240  # the lease of a job that a dead process held, and the job itself on a busy machine
ENDS = ("available", "error", "error_restoring", "error_deleting")
# Rounds follow one another at once, and take what was written a moment ago.
SWEEP = ("--set", "volume.sweep_interval_s=3", "--set", "volume.sweep_grace_s=0")


def call(cluster: Cluster, admin: Cloud, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of one request, in the newest microversion."""
    connection = connect(cluster)
    try:
        headers = {"X-Auth-Token": admin.token, "Content-Type": "application/json", "OpenStack-API-Version": "volume latest"}
        connection.request(method, f"/volume/v3{path}", body=None if body is None else json.dumps(body).encode(), headers=headers)
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None
    finally:
        connection.close()


def begun(cluster: Cluster, admin: Cloud, path: str, body: Any) -> Any:
    status, document = call(cluster, admin, "POST", path, body)
    assert status == 202, document
    return next(iter(document.values()))


def status_of(cluster: Cluster, admin: Cloud, path: str) -> str:
    """The state of a thing; "gone", or "away" while nobody answers."""
    try:
        status, document = call(cluster, admin, "GET", path)
    except (OSError, http.client.HTTPException):
        return "away"
    if status == 404:
        return "gone"
    return str(next(iter(document.values()))["status"]) if status == 200 else "away"


def ends(cluster: Cluster, admin: Cloud, path: str) -> str:
    """The state that a thing comes to rest in."""
    wait_until(lambda: status_of(cluster, admin, path) in (*ENDS, "gone"), PATIENCE_S, f"{path} comes to rest")
    return status_of(cluster, admin, path)


def killed(cluster: Cluster) -> None:
    pid = cluster.pids()["services1"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), 10, "the process is gone")


def pieces(cluster: Cluster) -> int:
    """Chunks and nodes that the store has, by a sweep that keeps nothing back."""
    done = subprocess.run(
        [OBJSTORE, "volume", "sweep", "--dir", str(cluster.directory), "--grace", "0"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return int(found["candidates"]) - int(found["removed"])


def image_of(cluster: Cluster, admin: Cloud, tmp_path: Path) -> tuple[str, bytes]:
    """A qcow2 image, and what its disk begins with."""
    data = os.urandom(24 * MIB)
    (tmp_path / "raw").write_bytes(data)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-f", "raw", str(tmp_path / "raw"), str(tmp_path / "qcow2")], check=True)
    image = made(cluster, admin, disk_format="qcow2")
    assert asked(cluster, admin, "PUT", f"/v2/images/{image}/file", (tmp_path / "qcow2").read_bytes(), OCTETS)[0] == 204
    return image, data


def content(cluster: Cluster, volume: str, length: int, tmp_path: Path) -> bytes:
    """What the store has of a volume."""
    out = tmp_path / "out"
    subprocess.run(
        [OBJSTORE, "volume", "export", "--dir", str(cluster.directory), volume, str(out)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    with out.open("rb") as file:
        return file.read(length)


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_whatever_a_kill_cuts_off_comes_to_rest_and_its_space_comes_back(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", *SWEEP, *(["--tls"] if tls else [])) as cluster:
        admin = administrator(cluster)
        image, data = image_of(cluster, admin, tmp_path)
        volume = begun(cluster, admin, "/volumes", {"volume": {"size": 1, "imageRef": image}})["id"]
        killed(cluster)
        assert ends(cluster, admin, f"/volumes/{volume}") == "available"
        assert content(cluster, volume, len(data), tmp_path) == data
        snapshot = begun(cluster, admin, "/snapshots", {"snapshot": {"volume_id": volume}})["id"]
        killed(cluster)
        assert ends(cluster, admin, f"/snapshots/{snapshot}") == "available"
        backup = begun(cluster, admin, "/backups", {"backup": {"volume_id": volume}})["id"]
        killed(cluster)
        assert ends(cluster, admin, f"/backups/{backup}") == "available"
        assert ends(cluster, admin, f"/volumes/{volume}") == "available"
        restored = begun(cluster, admin, f"/backups/{backup}/restore", {"restore": {}})["volume_id"]
        killed(cluster)
        assert ends(cluster, admin, f"/volumes/{restored}") == "available"
        assert ends(cluster, admin, f"/backups/{backup}") == "available"
        assert call(cluster, admin, "DELETE", f"/volumes/{volume}?cascade=true")[0] == 202
        killed(cluster)
        assert ends(cluster, admin, f"/volumes/{volume}") == "gone"
        for path in (f"/volumes/{restored}", f"/backups/{backup}"):
            assert call(cluster, admin, "DELETE", path)[0] == 202
            assert ends(cluster, admin, path) == "gone"
        assert asked(cluster, admin, "DELETE", f"/v2/images/{image}")[0] == 204
        wait_until(lambda: pieces(cluster) == 0, 120, "the space comes back")
        logs = "".join(path.read_text() for path in (tmp_path / "c" / "log").iterdir())
        assert admin.token not in logs
