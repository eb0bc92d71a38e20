"""Calls to a serving process: what is a request, and what answers."""

import contextlib

import msgspec
import pytest

from objstore.cli.volume_calls import Attach, Commit, Detach, Requests, Resize, Served, SnapshotOf, handlers, parse
from objstore.errors import InvalidArgument
from objstore.services.volume.host import HostPlace, NotServed, VolumeHost
from tests.support.volume_rig import CHUNK, VolumeRig, with_volume


def test_calls_are_parsed_from_names_and_values() -> None:
    assert parse("attach", {"volume": "v", "force": "true"}) == Attach("v", force=True)
    assert parse("resize", {"volume": "v", "size": "512"}) == Resize("v", 512)
    assert parse("served", {}) == Served()
    for call, arguments in (("format", {}), ("attach", {}), ("resize", {"volume": "v", "size": "x"}), ("served", {"more": "1"})):
        with pytest.raises(msgspec.ValidationError):
            parse(call, arguments)


def test_every_request_has_its_handler_and_answers_in_json() -> None:
    def test(rig: VolumeRig, volume: bytes) -> None:
        seat = rig.first
        place = HostPlace("h", lambda v: f"/volumes/{v.hex()}", lambda _: contextlib.nullcontext())
        host = VolumeHost(seat.volumes, seat.world, rig.settings, place)
        table = handlers(host)
        assert set(table) == set(Requests.__args__)

        async def work() -> None:
            name = volume.hex()
            assert await table[Attach](Attach(name)) == {"export": name}
            shown = await table[Served](Served())
            assert shown["exports"] == [{"export": name, "size": 5 * CHUNK, "read_only": False, "failure": ""}]
            pin = await table[SnapshotOf](SnapshotOf(name, "n", "ab" * 16))
            assert pin["id"] == "ab" * 16
            view = await table[Attach](Attach(name, snapshot="ab" * 16))
            await table[Detach](Detach(view["export"]))
            assert (await table[Resize](Resize(name, 7 * CHUNK)))["size"] == 7 * CHUNK
            assert (await table[Commit](Commit(name)))["holder"] == "h"
            await table[Detach](Detach(name))
            with pytest.raises(NotServed):
                await table[Commit](Commit(name))
            with pytest.raises(InvalidArgument):
                await table[Attach](Attach("no id"))
            msgspec.json.encode([shown, pin])

        seat.run(work)

    with_volume(test)
