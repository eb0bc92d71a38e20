"""The agent's door: who may come in, what is a call, what is answered."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore.services.compute.agent.app import MAX_BODY_BYTES, AgentApp
from objstore.services.compute.agent_api import AttachDisk, Disk, Spawn, Stop
from tests.support.guest_rig import Rig, with_rig
from tests.unit.services.compute.agent.test_check import ID, spec

SECRET = "s" * 64


async def ask(app: AgentApp, path: str, body: bytes = b"", *, secret: str = SECRET, method: str = "POST") -> tuple[int, Any]:
    sent: list[Any] = []
    pieces = [body[at : at + 65536] for at in range(0, max(1, len(body)), 65536)]

    async def receive() -> Any:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {secret}".encode())] if secret else []
    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_calls_are_carried_out_for_who_knows_the_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        app = AgentApp(rig.agent, SECRET)
        body = msgspec.json.encode(Spawn(spec()))
        for wrong in ("", "x", SECRET + "s", "\u00e4"):
            assert (await ask(app, "/v1/spawn", body, secret=wrong))[0] == 401
        assert rig.agent.guests == {}
        assert await ask(app, "/v1/spawn", body) == (200, {})
        assert await ask(app, "/v1/stop", msgspec.json.encode(Stop(ID, 1.0))) == (200, {})

    with_rig(tmp_path, monkeypatch, test)


@pytest.mark.parametrize(("path", "method", "body", "status"), [
    ("/v1/nothing", "POST", b"{}", 404), ("/v2/spawn", "POST", b"{}", 404), ("/v1/spawn/x", "POST", b"{}", 404), ("/", "POST", b"", 404),
    ("/v1/spawn", "GET", b"", 405), ("/v1/spawn", "POST", b"", 400), ("/v1/spawn", "POST", b"[" * 100_000, 400),
    ("/v1/stop", "POST", b'{"server": 1}', 400), ("/v1/stop", "POST", b'{"server": "../x"}', 400),
    ("/v1/stop", "POST", msgspec.json.encode(Stop(ID)), 404), ("/v1/spawn", "POST", msgspec.json.encode(Spawn(spec(vcpus=0))), 400),
    ("/v1/spawn", "POST", b" " * (MAX_BODY_BYTES + 1), 413),
])  # fmt: skip
def test_what_is_no_call_is_refused(
    path: str, method: str, body: bytes, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(rig: Rig) -> None:
        found, answer = await ask(AgentApp(rig.agent, SECRET), path, body, method=method)
        assert (found, list(answer)) == (status, ["error"])

    with_rig(tmp_path, monkeypatch, test)


def test_what_the_guest_forbids_is_409_and_what_may_go_well_later_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        app = AgentApp(rig.agent, SECRET)
        await ask(app, "/v1/spawn", msgspec.json.encode(Spawn(spec())))
        body = msgspec.json.encode(AttachDisk(ID, Disk("b" * 32, "vda")))
        assert (await ask(app, "/v1/attach_disk", body))[0] == 409
        rig.disks.down = True
        body = msgspec.json.encode(AttachDisk(ID, Disk("b" * 32, "vdb")))
        assert (await ask(app, "/v1/attach_disk", body))[0] == 503

        async def bug(_: object) -> None:
            raise ZeroDivisionError

        rig.agent.carry_out = bug  # type: ignore[method-assign,assignment]
        status, answer = await ask(app, "/v1/stop", msgspec.json.encode(Stop(ID)))
        assert status == 503
        assert "bug" in answer["error"]

    with_rig(tmp_path, monkeypatch, test)
