"""Volumes of a real cluster, used by the tools of others over NBD; killed, restarted, cloned, swept."""

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, running_cluster
from tests.support.nbd import Server, VolumeCommands, need_tools, serving, tool

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    need_tools("nbdinfo", "nbdcopy", "qemu-img", "qemu-io", "fio")
    with running_cluster(tmp_path_factory.mktemp("volumes") / "c") as cluster:
        yield cluster


@pytest.fixture
def volumes(cluster: Cluster) -> VolumeCommands:
    return VolumeCommands(cluster.directory)


def image(path: Path, size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    data = b"".join(rng.randbytes(MEBIBYTE) if rng.random() < 0.5 else bytes(MEBIBYTE) for _ in range(size // MEBIBYTE))
    path.write_bytes(data)
    return data


def fio(server: Server, job: str, *more: str) -> dict[str, object]:
    said = tool(
        "fio", f"--name={job}", "--ioengine=nbd", f"--uri={server.uri()}", "--bs=4k", "--size=24m", "--iodepth=16", "--verify=crc32c",
        "--verify_fatal=1", "--randseed=7", "--output-format=json", *more,
        cwd=server.log.parent,  # where it leaves its notes
    )  # fmt: skip
    found: dict[str, object] = json.loads(said[said.index("{") :])["jobs"][0]
    assert found["error"] == 0
    return found


def test_nbdcopy_and_qemu_img_bring_back_what_they_wrote(volumes: VolumeCommands, tmp_path: Path) -> None:
    data = image(tmp_path / "in.raw", 24 * MEBIBYTE, 1)
    made = volumes("create", "--size", "32M", "--name", "disk one")
    with serving(volumes, tmp_path / "s", made["id"]) as server:
        info = json.loads(tool("nbdinfo", "--json", server.uri()))["exports"][0]
        assert info["export-size"] == 32 * MEBIBYTE
        for what in ("can_flush", "can_fua", "can_trim", "can_zero", "can_multi_conn", "can_df", "can_cache"):
            assert info[what], what
        assert info["contexts"] == ["base:allocation"]
        tool("nbdcopy", "--flush", str(tmp_path / "in.raw"), server.uri())
        holes = [extent for extent in json.loads(tool("nbdinfo", "--json", "--map", server.uri())) if extent["type"] == 3]
        assert sum(extent["length"] for extent in holes) >= 8 * MEBIBYTE + data.count(bytes(MEBIBYTE))
        tool("nbdcopy", server.uri(), str(tmp_path / "out.raw"))
        assert (tmp_path / "out.raw").read_bytes()[: len(data)] == data
        tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri(), str(tmp_path / "disk.qcow2"))
        tool(
            "qemu-io", "-f", "raw", "-c", "write -P 0x5a 1M 64k", "-c", "discard 2M 1M", "-c", "write -z 4M 1M", "-c", "flush", server.uri()
        )
        tool("qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", str(tmp_path / "disk.qcow2"), server.uri())
        said = tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", server.uri(), str(tmp_path / "disk.qcow2"))
        assert "identical" in said
    assert volumes("show", made["id"])["holder"] == ""
    volumes("export", made["id"], str(tmp_path / "exported.raw"))
    assert (tmp_path / "exported.raw").read_bytes() == data + bytes(8 * MEBIBYTE)


def test_fio_finds_every_flushed_block_after_the_process_was_killed(volumes: VolumeCommands, tmp_path: Path) -> None:
    made = volumes("create", "--size", "32M")
    with serving(volumes, tmp_path / "s", made["id"]) as server:
        fio(server, "one", "--rw=randwrite", "--end_fsync=1", "--do_verify=0")
        server.kill()
        assert volumes("show", made["id"])["holder"] != ""
        server.start()
        fio(server, "one", "--rw=randwrite", "--verify_only")
        server.kill()
        server.start()
        fio(server, "one", "--rw=randwrite", "--verify_only")
    with serving(volumes, tmp_path / "elsewhere", made["id"]) as server:  # it was let go of: everything is in the store
        fio(server, "one", "--rw=randwrite", "--verify_only")


def test_snapshots_and_clones_are_made_without_copying_and_survive_sweeps(volumes: VolumeCommands, tmp_path: Path) -> None:
    data = image(tmp_path / "in.raw", 8 * MEBIBYTE, 2)
    made = volumes("create", "--size", "100G")
    assert volumes("import", made["id"], str(tmp_path / "in.raw"))["bytes"] == len(data)
    snapshot = volumes("snapshot", made["id"], "--name", "first")
    before = volumes("sweep", "--grace", "0")
    clone = volumes("clone", made["id"], "--snapshot", snapshot["id"])
    assert volumes("sweep", "--grace", "0")["candidates"] == before["candidates"] - before["removed"]
    with serving(volumes, tmp_path / "s", clone["id"], f"{made['id']}@{snapshot['id']}") as server:
        tool("qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 1M", "-c", "flush", server.uri(clone["id"]))
        tool("qemu-io", "-f", "raw", "-r", "-c", f"read -P {data[0]} 0 1", server.uri(f"{made['id']}@{snapshot['id']}"))
        refused = tool("qemu-io", "-f", "raw", "-c", "write 0 512", server.uri(f"{made['id']}@{snapshot['id']}"), check=False)
        assert "wrote" not in refused
    assert volumes("sweep", "--grace", "0")["kept_open"] == 0
    with serving(volumes, tmp_path / "t", clone["id"]) as server:
        tool("qemu-io", "-f", "raw", "-c", "read -P 0x5a 0 1M", server.uri())
        tool("nbdcopy", f"{server.uri()}", "null:", timeout_s=600)
    volumes("snapshot", made["id"], "--drop", snapshot["id"])
    volumes("delete", made["id"])
    volumes("sweep", "--grace", "0")
    with serving(volumes, tmp_path / "u", clone["id"]) as server:
        tool("qemu-io", "-f", "raw", "-c", "read -P 0x5a 0 1M", "-c", f"read -P {data[MEBIBYTE]} {MEBIBYTE} 1", server.uri())
    volumes("delete", clone["id"])
    assert volumes("sweep", "--grace", "0")["named"] == 0 or volumes("list")["volumes"]


def test_a_second_host_takes_a_volume_by_force_and_the_first_is_fenced(volumes: VolumeCommands, tmp_path: Path) -> None:
    made = volumes("create", "--size", "16M")
    with serving(volumes, tmp_path / "a", made["id"], options=("--holder", "a")) as first:
        tool("qemu-io", "-f", "raw", "-c", "write -P 1 0 64k", "-c", "flush", first.uri())
        refused = tool(
            *volumes.command("serve", "--state", str(tmp_path / "x"), "--socket", str(tmp_path / "x.sock"), "--holder", "b", made["id"]),
            check=False,
        )
        assert refused == ""
        with serving(volumes, tmp_path / "b", made["id"], options=("--holder", "b", "--force")) as second:
            tool("qemu-io", "-f", "raw", "-c", "write -P 2 0 64k", "-c", "flush", second.uri())
            first.stop()  # which cannot commit any more
        assert "attached by b" in first.log.read_text()
    with serving(volumes, tmp_path / "c", made["id"]) as server:
        tool("qemu-io", "-f", "raw", "-c", "read -P 2 0 64k", server.uri())


def test_a_serving_process_is_asked_for_volumes_snapshots_and_more_room(volumes: VolumeCommands, tmp_path: Path) -> None:
    control = tmp_path / "control.sock"

    def ask(*words: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(tool(sys.executable, "-m", "objstore.cli", "volume", "ask", "--control", str(control), *words))
        return answer

    made = volumes("create", "--size", "8M")["id"]
    with serving(volumes, tmp_path / "s", options=("--control", str(control))) as server:
        assert ask("served") == {"exports": []}
        assert ask("attach", f"volume={made}") == {"export": made}
        tool("qemu-io", "-f", "raw", "-c", "write -P 7 0 64k", server.uri(made))
        snapshot = ask("snapshot", f"volume={made}", "name=now")
        tool("qemu-io", "-f", "raw", "-c", "write -P 8 0 64k", server.uri(made))
        assert ask("resize", f"volume={made}", "size=16777216")["size"] == 16 * MEBIBYTE
        assert json.loads(tool("nbdinfo", "--json", server.uri(made)))["exports"][0]["export-size"] == 16 * MEBIBYTE
        view = ask("attach", f"volume={made}", f"snapshot={snapshot['id']}")["export"]
        tool("qemu-io", "-f", "raw", "-r", "-c", "read -P 7 0 64k", server.uri(view))
        tool("qemu-io", "-f", "raw", "-c", "read -P 8 0 64k", server.uri(made))
        ask("detach", f"export={made}")
        assert volumes("show", made)["holder"] == ""
        assert (control.stat().st_mode | server.socket.stat().st_mode) & 0o077 == 0
