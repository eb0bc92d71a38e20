import asyncio

import pytest

from objstore.errors import DeadlineExceeded, InvalidArgument, NotImplementedHere, Unavailable
from objstore.wire import messages as m
from objstore.wire.messages import TYPES
from tests.support.nodes import Nodes, key
from tests.support.wires import Site, run


def test_every_request_type_is_answered_and_no_answer_type_is() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        rpc = nodes.apps[0]._rpc
        answered = {*rpc._device_handlers, *rpc._node_handlers}
        requests = {kind for kind in TYPES.values() if issubclass(kind, m.Request)} | {m.NodeStatus, m.GetRing, m.PutRing}
        assert answered == requests
        with pytest.raises(NotImplementedHere):
            await (await nodes.channel(0)).call(m.Done(), timeout_s=1)
        await nodes.stop()

    run(main)


def test_requests_are_counted_by_name() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        for _ in range(3):
            await nodes.ask(m.Query, partition=0, key=key())
        assert nodes.apps[0].counters["Query"] == 3
        await nodes.stop()

    run(main)


def test_a_request_that_was_held_back_gets_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        await nodes.ask(m.Query, partition=0, key=key())
        device.held = []
        bad = asyncio.ensure_future(nodes.ask(m.Scan, bucket=b"b" * 8, space=0, prefix=b"", start=b"", limit=0))
        bug = asyncio.ensure_future(nodes.ask(m.Query, partition=0, key=key()))
        await asyncio.sleep(0.1)
        held, device.held = device.held, None
        assert len(held) == 2
        monkeypatch.setitem(nodes.apps[0]._rpc._device_handlers, m.Query, lambda *_args: 1 // 0)
        nodes.apps[0]._keeper._release(held)
        with pytest.raises(InvalidArgument):
            await bad
        with pytest.raises(Unavailable, match="log"):
            await bug
        await nodes.stop()

    run(main)


def test_a_request_that_was_held_back_for_too_long_is_not_done_any_more() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        await nodes.ask(m.Query, partition=0, key=key())
        device.held = []
        channel = await nodes.channel(0)
        asked = asyncio.ensure_future(channel.call(nodes.request(m.Query, partition=0, key=key(), timeout_s=1), timeout_s=60))
        await asyncio.sleep(2)
        held, device.held = device.held, None
        nodes.apps[0]._keeper._release(held)
        with pytest.raises(DeadlineExceeded, match="epochs"):
            await asked
        await nodes.stop()

    run(main)
