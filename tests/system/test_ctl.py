"""The control contract on real processes: what each call does and prints (docs/reference/ctl.md)."""

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import OBJSTORE, Cluster, free_port_base, is_running, running_cluster, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("ctl") / "c", "--devices", "2") as running:
        yield running


def test_up_prints_what_the_contract_says(cluster: Cluster) -> None:
    info, base, root = cluster.info, cluster.port_base, cluster.directory
    assert info["s3"] == [f"http://127.0.0.1:{base}", f"http://127.0.0.1:{base + 1}"]
    assert [(n["name"], n["port"], n["devices"]) for n in info["nodes"]] == [
        (f"node{i}", base + 99 + i, [str(root / f"node{i}" / "d1"), str(root / f"node{i}" / "d2")]) for i in (1, 2, 3)
    ]
    assert [(p["name"], p["port"]) for p in info["proxies"]] == [("proxy1", base), ("proxy2", base + 1)]
    assert [d["name"] for d in info["daemons"]] == ["daemon1"]
    assert info["ca_cert"] is None
    assert info["region"] == "us-east-1"
    assert set(info["admin"]) == {"user", "project", "password"}
    assert {"swift_auth", "identity", "console", "metrics", "access_key", "secret_key", "supervisor_pid", "ready_s"} <= set(info)
    for process in [*info["nodes"], *info["proxies"], *info["daemons"]]:
        assert is_running(process["pid"]), process


def test_pids_are_those_of_running_processes(cluster: Cluster) -> None:
    pids = cluster.pids()
    assert list(pids) == ["node1", "node2", "node3", "proxy1", "proxy2", "daemon1", "services1"]
    assert cluster.ctl("pids", "node2") == {"node2": pids["node2"]}
    for name, pid in pids.items():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert str(cluster.directory / name / "config.toml").encode() in words


def test_status_is_healthy_and_complete(cluster: Cluster) -> None:
    wait_until(lambda: cluster.status()["healthy"], 10, "a fresh cluster to be healthy")
    status = cluster.status()
    assert status["writable"]
    assert (status["under_replicated"], status["misplaced"], status["quarantined"], status["queued_repairs"]) == (0, 0, 0, 0)
    assert status["epoch"] >= 1
    ids = [device["id"] for node in status["nodes"] for device in node["devices"]]
    assert sorted(ids) == list(range(6))
    for node in status["nodes"]:
        assert node["up"]
        for device in node["devices"]:
            assert device["state"] == "up"
            assert device["free"] > 0


def test_a_second_up_of_a_running_cluster_changes_nothing(cluster: Cluster) -> None:
    before = cluster.info
    again = cluster.ctl("up", "--port-base", str(cluster.port_base))
    for key in ("s3", "access_key", "secret_key", "supervisor_pid", "nodes", "proxies", "daemons"):
        assert again[key] == before[key], key


def test_what_stop_stopped_stays_stopped_and_start_is_idempotent(cluster: Cluster) -> None:
    before = cluster.pids()
    cluster.ctl("stop", "proxy2")
    assert not is_running(before["proxy2"])
    time.sleep(1.0)
    assert "proxy2" not in cluster.pids()
    status = cluster.status()
    assert not status["healthy"]
    assert "not running: proxy2" in status["detail"]
    started = cluster.ctl("start", "proxy2")
    assert started["pid"] == cluster.pids()["proxy2"] != before["proxy2"]
    assert cluster.ctl("start", "proxy2")["pid"] == started["pid"]
    assert {**cluster.pids(), "proxy2": 0} == {**before, "proxy2": 0}, "nothing else was touched"


@pytest.mark.parametrize("name", ["node3", "proxy1", "daemon1", "services1"])
def test_what_dies_is_started_again_within_three_seconds(cluster: Cluster, name: str) -> None:
    pid = cluster.pids()[name]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: cluster.pids().get(name) not in (None, pid), 3, f"{name} to be started again")
    cluster.ctl("start", name)
    wait_until(lambda: cluster.status()["healthy"], 15, "the cluster to be healthy again")


def test_services_are_told_of_as_all_processes_are(cluster: Cluster) -> None:
    pid = cluster.pids()["services1"]
    asked = ("--services", "identity,image", "--port-base", str(cluster.port_base))
    assert cluster.ctl("up", *asked)["services"] == [{"name": "services1", "up": True, "pid": pid, "port": cluster.port_base + 400}]
    assert cluster.status()["services"] == [{"name": "services1", "up": True, "pid": pid}]
    cluster.ctl("stop", "services1")
    status = cluster.status()
    assert (status["healthy"], status["services"]) == (False, [{"name": "services1", "up": False, "pid": None}])
    assert "not running: services1" in status["detail"]
    cluster.ctl("start", "services1")
    wait_until(lambda: cluster.status()["healthy"], 15, "the cluster to be healthy again")
    assert cluster.status()["detail"] == ""


def test_stop_with_stop_and_cont_freezes_and_thaws(cluster: Cluster) -> None:
    pid = cluster.pids()["node1"]
    cluster.ctl("stop", "node1", "--signal", "STOP")
    assert _state(pid) == "T"
    status = cluster.status()
    assert status["nodes"][0]["up"] is False
    assert status["writable"]
    assert status["under_replicated"] is not None, "a node that hangs does not take the counts away"
    assert [(daemon["name"], daemon["up"]) for daemon in status["daemons"]] == [("daemon1", True)]
    assert "not answering: node1" in status["detail"]
    began = time.monotonic()
    with urllib.request.urlopen(cluster.info["metrics"][2], timeout=30) as answer:
        page = answer.read().decode()
    assert time.monotonic() - began < 6, "Prometheus gives up after 10 s"
    assert 'objstore_node_up{node="node1"} 0' in page
    assert 'objstore_node_up{node="node2"} 1' in page
    assert 'objstore_disk_state{node="node1",disk="0",state="unreachable"} 1' in page
    cluster.ctl("stop", "node1", "--signal", "CONT")
    wait_until(lambda: cluster.status()["healthy"], 15, "the cluster to be healthy again")
    assert cluster.pids()["node1"] == pid


def test_where_shows_each_copy_and_the_bytes_are_there(cluster: Cluster) -> None:
    client = cluster.s3()
    client.create_bucket(Bucket="located")
    small, large = b"needle in a pack " * 10, os.urandom(1_000_000)
    client.put_object(Bucket="located", Key="a/small", Body=small)
    client.put_object(Bucket="located", Key="a/large", Body=large)
    cluster.ctl("repair", "--wait")
    for key, body in (("a/small", small), ("a/large", large)):
        found = cluster.ctl("where", f"located/{key}")
        assert len(found["primaries"]) == 3
        assert {p["node"] for p in found["primaries"]} == {"node1", "node2", "node3"}
        head = client.head_object(Bucket="located", Key=key)
        etag = head["ETag"].strip('"')
        for replica in found["primaries"]:
            assert replica["timestamp"] // 1_000_000 == int(head["LastModified"].timestamp())
            assert (replica["state"], replica["etag"], replica["size"]) == ("object", etag, len(body))
            assert replica["accepted"]
            assert replica["length"] > 0
            with Path(replica["file"]).open("rb") as file:
                file.seek(replica["offset"])
                stored = file.read(replica["length"])
            assert body[:1000] in stored or stored in body
    assert all(r["state"] == "absent" for r in cluster.ctl("where", "located/never")["primaries"])
    from tests.support.swift_calls import Account

    swift = Account(cluster)
    assert swift.ask("PUT", "container").status == 201
    assert swift.ask("PUT", "container/a/b", b"by Swift").status == 201
    for target in ("container/a/b", "admin/container/a/b"):
        found = cluster.ctl("where", target)
        assert (found["account"], found["bucket"], found["key"]) == ("admin", "container", "a/b")
        assert [p["state"] for p in found["primaries"]] == ["object"] * 3
    code, answer = cluster.try_ctl("where", "nowhere/key")
    assert code == 1
    assert "nowhere" in answer["error"]


def test_repair_and_audit_count_what_they_did(cluster: Cluster) -> None:
    for call in ("repair", "audit"):
        done = cluster.ctl(call, "--wait")
        assert {"healed", "quarantined", "rows_sent", "bytes_sent"} <= set(done)
        assert done["finished"]
        assert done["quarantined"] == 0


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["start", "node9"], 1, "node1, node2"),
        (["stop", "node1", "--signal", "NOPE"], 1, "NOPE"),
        (["pids", "nobody"], 1, "nobody"),
        (["drain", "node9"], 1, "node9"),
        (["where", "no-slash"], 1, "BUCKET/KEY"),
        (["stop"], 2, "NAME"),
        (["up", "--nodes", "many"], 2, "many"),
        (["up", "--services", "image,heat"], 2, "heat"),
        (["dance"], 2, "dance"),
    ],
)
def test_mistakes_are_json_with_the_right_exit_code(cluster: Cluster, words: list[str], code: int, hint: str) -> None:
    found, answer = cluster.try_ctl(*words)
    assert found == code
    assert hint in answer["error"]


def test_secrets_are_for_the_owner_and_nothing_listens_beyond_loopback(cluster: Cluster) -> None:
    for path in (cluster.directory / "secrets").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pids = set(cluster.all_pids())
    inodes = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if _readable(link)}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                address, _, port = words[1].rpartition(":")
                listening.append((address, int(port, 16)))
    assert len(listening) >= 5
    for address, port in listening:
        assert address == "0100007F", "only 127.0.0.1"
        assert cluster.port_base <= port < cluster.port_base + 1000


def test_metrics_are_served_by_proxies_and_daemon(cluster: Cluster) -> None:
    pages = []
    for url in cluster.info["metrics"]:
        with urllib.request.urlopen(url, timeout=10) as answer:
            pages.append(answer.read().decode())
    assert len(pages) == 4
    assert 'objstore_s3_requests_total{api="PutObject",code="200"}' in pages[0] + pages[1]
    assert "objstore_disk_bytes{" in pages[2]
    assert 'objstore_http_requests_total{service="swift",code="201"}' in pages[0] + pages[1]
    before = _count(pages[3], "identity", 401)
    services = f"http://127.0.0.1:{cluster.port_base + 400}"
    for path in ("/identity/v3/users", "/image/v2/images"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(services + path, timeout=10)
    with urllib.request.urlopen(f"{services}/-/health", timeout=10) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(cluster.info["metrics"][3], timeout=10) as answer:
        page = answer.read().decode()
    assert _count(page, "identity", 401) == before + 1
    assert _count(page, "image", 401) >= 1
    assert "objstore_services_serves 1" in page


def _count(page: str, service: str, code: int) -> int:
    found = re.search(rf'^objstore_http_requests_total{{service="{service}",code="{code}"}} (\d+)$', page, re.MULTILINE)
    return int(found[1]) if found else 0


def test_logs_hold_no_secret(cluster: Cluster) -> None:
    key = (cluster.directory / "secrets" / "cluster.key").read_text().strip()
    for path in (cluster.directory / "log").iterdir():
        text = path.read_text()
        for secret in (key, cluster.info["secret_key"], cluster.info["admin"]["password"]):
            assert secret not in text, path


# -- clusters of their own ----------------------------------------------------------------------------------------


def test_down_ends_everything_in_time_and_up_brings_it_back(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1") as cluster:
        cluster.s3().create_bucket(Bucket="kept")
        pids = cluster.all_pids()
        began = time.monotonic()
        stopped = cluster.ctl("down")
        assert time.monotonic() - began < 10
        assert stopped["stopped"] == ["node1", "node2", "node3", "proxy1", "daemon1", "services1"]
        assert not any(map(is_running, pids))
        assert cluster.ctl("down") == {"stopped": []}
        status = cluster.status()
        assert (status["healthy"], status["writable"]) == (False, False)
        before = cluster.info
        assert cluster.up("--proxies", "1")["access_key"] == before["access_key"]
        assert [b["Name"] for b in cluster.s3().list_buckets()["Buckets"]] == ["kept"]


def test_children_end_with_a_killed_supervisor_and_a_new_one_takes_over(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1") as cluster:
        pids = cluster.pids()
        os.kill(cluster.info["supervisor_pid"], signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids.values())), 3, "the children to end with their supervisor")
        code, answer = cluster.try_ctl("pids")
        assert code == 1
        assert "ctl up" in answer["error"]
        cluster.up()
        assert cluster.status()["writable"]


def test_a_port_that_is_taken_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", free_port_base())
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", cluster.port_base))
        taken.listen()
        code, answer = cluster.try_ctl("up", "--port-base", str(cluster.port_base), "--proxies", "1")
    assert code == 1
    assert str(cluster.port_base) in answer["error"]
    assert "Address already in use" in answer["error"]
    wait_until(lambda: cluster.try_ctl("pids")[0] == 1, 10, "the supervisor to end")
    cluster.up("--proxies", "1")
    cluster.down()


def test_settings_reach_the_processes_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", free_port_base())
    code, answer = cluster.try_ctl("up", "--port-base", str(cluster.port_base), "--set", "engine.pack_size_byte=1")
    assert code == 1
    assert "did you mean 'pack_size_bytes'" in answer["error"]
    wanted = ["engine.pack_size_bytes=1048576", "cluster.reclaim_age_s=60", "lifecycle.seconds_per_day=10", "s3.allow_sse_c_over_http=true"]
    with running_cluster(tmp_path / "c", "--proxies", "1", *(word for text in wanted for word in ("--set", text))) as running:
        text = (running.directory / "node1" / "config.toml").read_text()
        assert "pack_size_bytes = 1048576" in text
        shown = subprocess.run(
            [OBJSTORE, "config", "show", "--json", "--dir", str(running.directory)], capture_output=True, text=True, check=True
        )
        settings = json.loads(shown.stdout)
        assert settings["cluster"]["reclaim_age_s"] == 60
        assert settings["s3"]["allow_sse_c_over_http"] is True


def test_a_wrapper_and_an_environment_for_one_process(tmp_path: Path) -> None:
    with running_cluster(
        tmp_path / "c", "--proxies", "1", "--exec-prefix", "node1:env WRAPPED=yes nice -n 3", "--env", "node2:TRIAL=a:b=c"
    ) as cluster:
        environments = {n: Path(f"/proc/{cluster.pids()[n]}/environ").read_bytes().split(b"\0") for n in ("node1", "node2", "node3")}
        assert b"WRAPPED=yes" in environments["node1"]
        assert b"WRAPPED=yes" not in environments["node2"]
        assert b"TRIAL=a:b=c" in environments["node2"]
        assert b"TRIAL=a:b=c" not in environments["node1"]


@pytest.mark.skipif(subprocess.run(["which", "strace"], capture_output=True, check=False).returncode != 0, reason="strace is not installed")
def test_under_strace_pids_are_the_processes_own_and_a_kill_leaves_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with running_cluster(
        tmp_path / "c", "--proxies", "1", "--exec-prefix", f"node1:strace -f -qq -o {trace} -e trace=fdatasync"
    ) as cluster:
        cluster.s3().create_bucket(Bucket="traced")
        cluster.s3().put_object(Bucket="traced", Key="k", Body=b"x")
        wait_until(lambda: "fdatasync" in trace.read_text(), 5, "the tracer to see a flush")
        pid = cluster.pids()["node1"]
        assert b"strace" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        tracer = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert Path(f"/proc/{tracer}/cmdline").read_bytes().split(b"\0")[0] == b"strace"
        cluster.ctl("stop", "node1", "--signal", "KILL")
        assert not is_running(pid)
        wait_until(lambda: not is_running(tracer), 3, "the tracer to end too")
        cluster.ctl("start", "node1")
        pids = cluster.all_pids()
        os.kill(cluster.info["supervisor_pid"], signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, pids)), 5, "the traced child to end with the supervisor too")
        cluster.up("--exec-prefix", "node1:")
        assert cluster.s3().get_object(Bucket="traced", Key="k")["Body"].read() == b"x"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run processes as others")
def test_each_node_may_run_as_a_user_of_its_own(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--uid-base", "41000") as cluster:
        users = {name: Path(f"/proc/{pid}").stat().st_uid for name, pid in cluster.pids().items()}
        assert users == {"node1": 41001, "node2": 41002, "node3": 41003, "proxy1": 0, "daemon1": 0, "services1": 0}
        cluster.s3().create_bucket(Bucket="users")
        cluster.s3().put_object(Bucket="users", Key="k", Body=b"x" * 300_000)
        owners = {path.stat().st_uid for path in (cluster.directory / "node1" / "d1").rglob("*")}
        assert owners == {41001}
        cluster.down()
        cluster.up()
        assert cluster.s3().head_object(Bucket="users", Key="k")["ContentLength"] == 300_000


def test_tls_is_served_with_a_certificate_that_the_given_authority_signed(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--tls") as cluster:
        assert cluster.info["s3"][0].startswith("https://127.0.0.1:")
        assert Path(cluster.info["ca_cert"]).is_file()
        cluster.s3().create_bucket(Bucket="secure")
        cluster.s3().put_object(Bucket="secure", Key="k", Body=b"x" * 100_000)
        assert cluster.s3().get_object(Bucket="secure", Key="k")["Body"].read() == b"x" * 100_000


def test_identities_of_a_file_exist_from_the_start(tmp_path: Path) -> None:
    identities = tmp_path / "identities.toml"
    identities.write_text('[[user]]\naccount = "suite"\nname = "main"\naccess_key = "SUITEACCESS"\nsecret_key = "suite-secret"\n')
    with running_cluster(tmp_path / "c", "--proxies", "1", "--identities", str(identities)) as cluster:
        cluster.info |= {"access_key": "SUITEACCESS", "secret_key": "suite-secret"}
        cluster.s3().create_bucket(Bucket="of-the-suite")
        assert [b["Name"] for b in cluster.s3().list_buckets()["Buckets"]] == ["of-the-suite"]


def test_identities_that_are_given_to_a_running_cluster_hold_at_once_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    identities = tmp_path / "identities.toml"
    with running_cluster(tmp_path / "c", "--proxies", "2") as cluster:
        before = cluster.ctl("pids")
        identities.write_text('[[user]]\naccount = "late"\nname = "main"\nsecret_key = "late-secret"\n')
        code, answer = cluster.try_ctl("up", "--identities", str(identities))
        assert (code, "access_key" in answer["error"]) == (1, True)
        assert cluster.ctl("pids") == before
        identities.write_text('[[user]]\naccount = "late"\nname = "main"\naccess_key = "LATEACCESS"\nsecret_key = "late-secret"\n')
        cluster.ctl("up", "--identities", str(identities))
        after = cluster.ctl("pids")
        assert {name for name in before if after[name] != before[name]} == {"proxy1", "proxy2", "services1"}
        cluster.info |= {"access_key": "LATEACCESS", "secret_key": "late-secret"}
        for proxy in (0, 1):
            assert cluster.s3(proxy).list_buckets()["Buckets"] == []


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _readable(link: Path) -> bool:
    with contextlib.suppress(OSError):
        os.readlink(link)
        return True
    return False


def test_metrics_may_be_served_to_other_hosts(tmp_path: Path) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--set", "metrics.host=127.0.0.2", "--set", "metrics.buckets=9") as cluster:
        cluster.s3().create_bucket(Bucket="counted")
        cluster.s3().put_object(Bucket="counted", Key="k", Body=b"12345")
        assert cluster.info["metrics"] == [f"http://127.0.0.2:{cluster.port_base + offset}/metrics" for offset in (200, 300, 700)]
        for url in cluster.info["metrics"]:
            with urllib.request.urlopen(url, timeout=10) as answer:
                page = answer.read().decode()
                assert "objstore_ring_version 1" in page
                assert ('objstore_bucket_bytes{account="admin",bucket="counted"} 5' in page) is (":" + str(cluster.port_base + 300) in url)
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"http://127.0.0.1:{cluster.port_base + 300}/metrics", timeout=10)
