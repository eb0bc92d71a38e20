"""`ctl` against a supervisor that only notes what it is asked: requests, JSON, exit codes."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.cli import requests
from objstore.cli.commands import run


class Scripted:
    """Listens where a supervisor would; answers each request with what is set for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[Any] = []
        self.answers: dict[str, dict[str, Any]] = {}
        (root / "run").mkdir()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(root / "run" / "supervisor.sock"))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        decoder = msgspec.json.Decoder(requests.SupervisorRequest)
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                line = connection.makefile("rb").readline()
                if line:
                    request = decoder.decode(line)
                    self.asked.append(request)
                    answer = self.answers.get(json.loads(line)["call"], {"result": {"done": True}})
                    connection.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Scripted]:
    scripted = Scripted(tmp_path)
    yield scripted
    scripted.close()


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["start", "node1"], requests.StartProcess(name="node1")),
        (["stop", "proxy2", "--signal", "KILL"], requests.StopProcess(name="proxy2", signal="KILL")),
        (["status"], requests.GetStatus()),
        (["pids"], requests.GetPids()),
        (["pids", "node1"], requests.GetPids(name="node1")),
        (["repair", "--wait", "--timeout", "5"], requests.RunRepair(timeout_s=5.0)),
        (["audit", "--wait"], requests.RunAudit(timeout_s=3600.0)),
        (["add-node", "--devices", "2", "--zone", "3", "--weight", "0.5"], requests.AddNode(devices=2, zone=3, weight=0.5)),
        (["add-node", "--policy", "cold"], requests.AddNode(policy="cold")),
        (["add-policy", "cold=2:2", "--devices", "2"], requests.AddPolicy(policy="cold=2:2", devices=2)),
        (["drain", "node1"], requests.Drain(name="node1")),
        (["remove", "node1"], requests.Remove(name="node1")),
        (["where", "b/k/with/slashes"], requests.Where(target="b/k/with/slashes")),
    ],
)
def test_each_call_sends_its_request_and_prints_the_answer(
    supervisor: Scripted, words: list[str], request_: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ctl", "--dir", str(supervisor.root), *words]) == 0
    assert run(["ctl", *words, "--dir", str(supervisor.root)]) == 0
    assert supervisor.asked == [request_, request_]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"done": True}, {"done": True}]


def test_up_sends_the_shape_and_the_options(supervisor: Scripted, tmp_path: Path) -> None:
    identities = tmp_path / "ids.toml"
    identities.write_text("")
    words = [
        "ctl", "up", "--dir", str(supervisor.root), "--nodes", "5", "--devices", "2", "--zones", "4", "--proxies", "1", "--port-base", "25000",
        "--tls", "--uid-base", "7000", "--identities", str(identities), "--exec-prefix", "env A=1", "--exec-prefix", "node1:nice", "--env", "node1:K=V",
        "--set", "a.b=c", "--set", "d.e=f", "--policy", "cold=2", "--policy", "dark=1:1",
    ]  # fmt: skip
    assert run(words) == 0
    assert supervisor.asked == [
        requests.Up(
            new=requests.NewCluster(
                nodes=5, devices=2, zones=4, proxies=1, port_base=25000, tls=True, uid_base=7000, policies=("cold=2", "dark=1:1")
            ),
            identities=str(identities),
            exec_prefix=["env A=1", "node1:nice"], environment=["node1:K=V"], overrides=("a.b=c", "d.e=f"), timeout_s=120.0,
        )
    ]  # fmt: skip


def test_up_without_wrappers_leaves_those_of_a_running_cluster(supervisor: Scripted) -> None:
    assert run(["ctl", "up", "--dir", str(supervisor.root)]) == 0
    assert supervisor.asked == [requests.Up()]


def test_an_error_is_printed_as_json_with_exit_1(supervisor: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    supervisor.answers["start"] = {"error": "ConfigError", "message": "there is no process 'x'"}
    assert run(["ctl", "--dir", str(supervisor.root), "start", "x"]) == 1
    assert json.loads(capsys.readouterr().out) == {"error": "there is no process 'x'", "kind": "ConfigError"}


def test_unfinished_work_is_printed_with_its_counts_and_exit_1(supervisor: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    supervisor.answers["repair"] = {"result": {"finished": False, "healed": 2, "error": "repair did not finish"}}
    assert run(["ctl", "--dir", str(supervisor.root), "repair", "--wait"]) == 1
    assert json.loads(capsys.readouterr().out)["healed"] == 2


def test_repair_without_wait_returns_at_once(supervisor: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ctl", "--dir", str(supervisor.root), "repair"]) == 0
    assert json.loads(capsys.readouterr().out) == {"started": True}


@pytest.mark.parametrize("words", [["status"], ["pids"], ["down"], ["start", "node1"]])
def test_where_there_is_no_cluster_every_call_says_so(tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ctl", "--dir", str(tmp_path / "none"), *words]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert "ctl up" in answer["error"]
    assert not (tmp_path / "none").exists()


def test_services_that_are_there_may_be_asked_for_by_name(supervisor: Scripted) -> None:
    for names in ("image", "identity,image", "identity, image,volume,network,compute"):
        assert run(["ctl", "up", "--dir", str(supervisor.root), "--services", names]) == 0
    assert supervisor.asked == [requests.Up()] * 3


@pytest.mark.parametrize("names", ["heat", "image,heat", "image,"])
def test_services_that_are_not_there_are_wrong_usage(tmp_path: Path, names: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ctl", "up", "--dir", str(tmp_path / "c"), "--services", names]) == 2
    assert "identity, image, volume, network, compute" in json.loads(capsys.readouterr().out)["error"]
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("words", "why"), [
    (("up", "--nodes", "0"), "x>=1"), (("up", "--set", "x"), "section.key=value"), (("up", "--set", "s3.=x"), "section.key=value"),
    (("up", "--env", "K"), "K=V"), (("up", "--env", "node1:=v"), "K=V"), (("add-node", "--weight", "nan"), "no weight"),
    (("add-node", "--weight", "-1"), "no weight"), (("add-node", "--weight", "inf"), "no weight"),
])  # fmt: skip
def test_what_cannot_be_meant_is_wrong_usage(words: tuple[str, ...], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ctl", *words, "--dir", str(tmp_path / "c")]) == 2
    assert why in json.loads(capsys.readouterr().out)["error"]
    assert not (tmp_path / "c").exists()
