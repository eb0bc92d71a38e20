"""What the disks' process answers, as the agent understands it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from objstore.cli import agent_disks
from objstore.cli.agent_disks import DisksClient
from objstore.cli.volume_calls import Attach, Detach, Requests, Resize, Served, SnapshotOf
from objstore.cli.world import system_world
from objstore.daemons.control import ControlServer
from objstore.errors import ConditionalConflict, NodeUnreachable, NoSuchKey, QuorumLost, Unavailable
from objstore.services.volume.attach import VolumeInUse
from objstore.services.volume.device import Fenced
from objstore.services.volume.host import NotServed

A, B, C = "a" * 32, "b" * 32, "c" * 32


def test_calls_and_refusals_are_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def answer(request: Any) -> dict[str, Any]:
        asked.append(request)
        match request:
            case Served():
                return {"exports": [{"export": A, "size": 512}]}
            case Attach(volume=volume) if volume == B:
                raise VolumeInUse("elsewhere")
            case Detach(export=name) if name == B:
                raise Fenced("another's")
            case Detach(export=name) if name == C:
                raise QuorumLost("the store is away")
            case SnapshotOf(volume=volume) if volume == B:
                raise NotServed("not here")
        return {}

    async def main() -> None:
        world = system_world()
        path = f"unix:{tmp_path}/s"
        monkeypatch.setattr(agent_disks, "PATIENCE_S", 5.0)
        server = ControlServer(world, requests=Requests, handlers=dict.fromkeys((Attach, Detach, Resize, Served, SnapshotOf), answer))
        disks = DisksClient(world, f"{tmp_path}/s")
        first = asyncio.ensure_future(disks.attach(A, force=True))  # the process is being started anew
        await asyncio.sleep(0.3)
        await server.start(path)
        await first
        assert asked == [Attach(A, force=True)]
        assert await disks.sizes() == {A: 512}
        await disks.resize(A, 512)
        assert asked[-1] == Served()
        await disks.resize(A, 1024)
        assert asked[-1] == Resize(A, 1024)
        await disks.snapshot(A, C)
        with pytest.raises(ConditionalConflict):
            await disks.attach(B)
        with pytest.raises(NoSuchKey):
            await disks.snapshot(B, C)
        await disks.detach(B)
        with pytest.raises(Unavailable):
            await disks.detach(C)
        await server.aclose()
        monkeypatch.setattr(agent_disks, "PATIENCE_S", 0.0)
        with pytest.raises(NodeUnreachable):
            await DisksClient(world, f"{tmp_path}/none").sizes()
        await asyncio.sleep(0.02)

    asyncio.run(main())
