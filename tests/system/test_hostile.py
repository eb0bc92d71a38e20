"""Hostile use of real processes: what lies on their disks and in their logs, who may talk to nodes, what aborted readers leave."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, running_cluster, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("hostile") / "c", "--nodes", "3", "--proxies", "1") as running:
        yield running


def _files(cluster: Cluster) -> set[str]:
    return {str(path.relative_to(cluster.directory)) for path in cluster.directory.rglob("*")}


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_names_of_objects_never_become_names_of_files(cluster: Cluster) -> None:
    """S14: RustFS GHSA-pq29, MinIO CVE-2023-28433, Ceph CVE-2020-1699."""
    client = cluster.s3()
    client.create_bucket(Bucket="paths")
    planted = cluster.directory.parent / "planted"
    keys = ["../planted", "../../planted", str(planted), "..\\planted", "a/../../../planted", "./x", "x/", "//x", "-rf", "x" * 1024]
    for key in keys:
        client.put_object(Bucket="paths", Key=key, Body=key.encode() * 300_000 if len(key) < 8 else key.encode())  # inline and as a file
    assert not planted.exists()
    assert not any("planted" in name or "xxxx" in name for name in _files(cluster))
    assert sorted(entry["Key"] for entry in client.list_objects_v2(Bucket="paths")["Contents"]) == sorted(keys)
    assert client.get_object(Bucket="paths", Key="../planted")["Body"].read() == b"../planted"


def test_files_are_their_owners_alone(cluster: Cluster) -> None:
    """S31: what others on the machine could read or swap."""
    for path in [cluster.directory, *cluster.directory.rglob("*")]:
        if path.is_symlink() or path.is_socket():
            assert not path.is_symlink(), path
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert not mode & 0o077 or path.parent != cluster.directory, f"{path}: {mode:o}"
        if "secrets" in path.parts or path.suffix == ".key":
            assert not mode & 0o077, f"{path}: {mode:o}"


def test_storage_ports_answer_nobody_without_the_clusters_key(cluster: Cluster) -> None:
    """S11: RustFS GHSA-h956; whatever a stranger says, nothing comes back but the challenge, and the connection ends."""
    for node in range(3):
        for said in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(5000), b"\0" * 5000, b"\xff" * 64):
            with socket.create_connection(("127.0.0.1", cluster.port_base + 100 + node), timeout=20) as line:
                line.sendall(said)
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_WR)
                got = b""
                with contextlib.suppress(ConnectionResetError):
                    while chunk := line.recv(65536):
                        got += chunk
                assert len(got) < 1000
    assert cluster.status()["healthy"]


def test_readers_that_leave_let_go_of_everything(cluster: Cluster) -> None:
    """S24: Swift CVE-2016-0737 and CVE-2016-0738; 300 aborted downloads of 8 MiB leave no descriptor behind."""
    client = cluster.s3()
    client.create_bucket(Bucket="aborts")
    client.put_object(Bucket="aborts", Key="big", Body=bytes(8 << 20))
    url = client.generate_presigned_url("get_object", Params={"Bucket": "aborts", "Key": "big"})
    target = url.partition("//")[2].partition("/")[2]
    port = int(cluster.info["s3"][0].rpartition(":")[2])
    pids = [pid for name, pid in cluster.pids().items() if name.startswith(("proxy", "node"))]
    client.get_object(Bucket="aborts", Key="big")["Body"].read()
    before = {pid: _descriptors(pid) for pid in pids}
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(f"GET /{target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            assert line.recv(100).startswith(b"HTTP/1.1 200")
    wait_until(lambda: all(_descriptors(pid) <= before[pid] + 8 for pid in pids), 20, "descriptors to be closed")
    assert client.get_object(Bucket="aborts", Key="big")["Body"].read() == bytes(8 << 20)


def test_no_log_tells_a_secret(cluster: Cluster) -> None:
    """S20: Swift CVE-2017-8761, Ceph CVE-2018-16889; after all that was done above, and requests that fail in many ways."""
    client = cluster.s3(attempts=1)
    url = client.generate_presigned_url("get_object", Params={"Bucket": "missing", "Key": "k"})
    signature = url.rpartition("=")[2]
    port = int(cluster.info["s3"][0].rpartition(":")[2])
    for line_of in (f"GET /{url.partition('//')[2].partition('/')[2]} HTTP/1.1", "GET /x HTTP/1.1"):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
            line.sendall(
                f"{line_of}\r\nHost: 127.0.0.1:{port}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=marker-credential\r\n\r\n".encode()
            )
            line.recv(100)
    text = "".join(path.read_text(errors="replace") for path in Path(cluster.directory, "log").rglob("*") if path.is_file())
    key = Path(cluster.directory, "secrets", "cluster.key").read_text().strip()
    for secret in (cluster.info["secret_key"], key, signature, "marker-credential"):
        assert secret not in text


def test_what_is_planted_in_a_devices_directories_is_not_followed_and_what_it_replaced_is_healed(cluster: Cluster, tmp_path: Path) -> None:
    """S31: links, pipes, directories and files of others in place of blobs, and names that are none of ours."""
    client = cluster.s3()
    client.create_bucket(Bucket="planted")
    bodies = {f"k{number}": os.urandom(300_000) for number in range(6)}
    for key, body in bodies.items():
        client.put_object(Bucket="planted", Key=key, Body=body)
    secret = tmp_path / "secret"
    secret.write_bytes(b"what the service may read and nobody else" * 10_000)
    theirs = tmp_path / "theirs"
    theirs.write_bytes(bytes(300_000))
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
    cluster.ctl("stop", "node1")
    directories = {path.parent.parent for path in cluster.directory.glob("node1/*/blobs/*/*")}
    blobs = sorted(path for directory in directories for path in directory.glob("*/*"))
    assert len(blobs) >= 5
    kept = [blob.rename(tmp_path / blob.name) for blob in blobs[:5]]
    blobs[0].symlink_to(secret)
    os.mkfifo(blobs[1])
    blobs[2].mkdir()
    (blobs[2] / "inside").write_bytes(b"x")
    os.link(theirs, blobs[3])
    blobs[4].symlink_to(kept[4])  # a link to the very bytes that were there is a link all the same
    for directory in directories:
        (directory / "00").mkdir(exist_ok=True)
        (directory / "00" / ("z" * 32)).symlink_to(secret)
        os.mkfifo(directory.parent / "packs" / "evil.pack")
        (directory.parent / "packs" / "-1.pack").symlink_to(secret)
    cluster.ctl("start", "node1")
    for key, body in bodies.items():
        assert client.get_object(Bucket="planted", Key=key)["Body"].read() == body
    cluster.ctl("audit", "--wait")
    cluster.ctl("repair", "--wait")
    audit = cluster.ctl("audit", "--wait")
    assert audit["finished"]
    for blob, was in zip(blobs[:5], kept, strict=True):
        assert not blob.is_symlink()
        assert blob.read_bytes()[:300_000] == was.read_bytes()[:300_000], "the footer behind it says when it was made"
    assert secret.read_bytes() == b"what the service may read and nobody else" * 10_000
    assert theirs.read_bytes() == bytes(300_000)
    assert cluster.status()["healthy"]
    for key in bodies:
        client.delete_object(Bucket="planted", Key=key)
