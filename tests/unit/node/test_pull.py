import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from objstore.core.rows import Row, decode_row
from objstore.errors import NodeUnreachable, Unavailable
from objstore.node.engine.api import BodyStream
from objstore.node.pull import DIAL_AGAIN_S, Peers, Puller
from objstore.wire import messages as m
from ring import builder, codec
from tests.support.nodes import Nodes, ballot, key, row
from tests.support.wires import KEY, Handler, Site, run

BODY = b"some bytes" * 100


def puller(nodes: Nodes, node: int) -> Puller:
    app = nodes.apps[node]
    return Puller(app.state, Peers(nodes.site.world, cluster_key=KEY, name="test"), app.counters)


def small(number: int = 1) -> Row:
    return decode_row(row(number, BODY))


async def given(nodes: Nodes, device: int) -> None:
    await nodes.ask(m.Accept, device, BODY, partition=0, key=key(), ballot=ballot(), row=row(1, BODY), has_payload=True)


def test_the_first_source_that_has_the_body_gives_it() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await given(nodes, 2)
        [here] = nodes.apps[0].state.devices
        pulling = puller(nodes, 0)
        assert await pulling.pull(here, key(), small(), (0, 99, 1, 2), timeout_s=5) == (BODY, len(BODY))
        counters = nodes.apps[0].counters
        assert (counters["pulled_bytes"], counters["pulls_failed"]) == (len(BODY), 0)
        with pytest.raises(Unavailable, match=r"device 1: NoSuchVersion"):
            await pulling.pull(here, key(), small(), (0, 1), timeout_s=5)
        assert counters["pulls_failed"] == 1
        await nodes.stop()

    run(main)


def test_a_source_that_is_behind_is_given_the_ring_first() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await given(nodes, 1)
        newer = builder.change(nodes.ring, [builder.Weigh(0, 2.0)], now_s=1e9)
        await (await nodes.channel(0)).call(m.PutRing(), codec.encode(newer), timeout_s=5)
        [here] = nodes.apps[0].state.devices
        assert (await puller(nodes, 0).pull(here, key(), small(), (1,), timeout_s=5))[0] == BODY
        assert nodes.apps[1].state.epoch == newer.epoch
        await nodes.stop()

    run(main)


async def _give(data: bytes) -> AsyncIterator[bytes | memoryview]:
    yield data


@pytest.mark.parametrize(("size", "data"), [(len(BODY) - 1, BODY[:-1]), (len(BODY), BODY[:-1]), (len(BODY) + 1, BODY + b"x")])
def test_a_body_of_the_wrong_size_is_not_taken(size: int, data: bytes) -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)

        async def read_body(*_args: Any, **_fields: Any) -> BodyStream:
            return BodyStream(size, size, _give(data))

        nodes.apps[1].state.devices[0].engine.read_body = read_body  # type: ignore[union-attr,method-assign]
        [here] = nodes.apps[0].state.devices
        with pytest.raises(Unavailable):
            await puller(nodes, 0).pull(here, key(), small(), (1,), timeout_s=5)
        await nodes.stop()

    run(main)


def test_bodies_of_one_row_are_fetched_one_after_the_other_and_of_two_rows_together() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        [here] = nodes.apps[0].state.devices
        pulling, order = puller(nodes, 0), []

        async def one(name: str, number: int) -> None:
            async with pulling.turn(here, key(name), small(number)):
                order.append((name, number))
                await asyncio.sleep(1)

        began = site.loop.time()
        await asyncio.gather(one("a", 1), one("a", 1), one("b", 1), one("a", 2))
        assert site.loop.time() - began == pytest.approx(2)
        assert order == [("a", 1), ("b", 1), ("a", 2), ("a", 1)]
        assert pulling._turns == {}
        await nodes.stop()

    run(main)


def test_a_channel_is_shared_opened_again_and_not_dialed_in_a_row_when_nobody_answers() -> None:
    async def main(site: Site) -> None:
        peers = Peers(site.world, cluster_key=KEY, name="me")
        with pytest.raises(NodeUnreachable, match="refused"):
            await peers.channel("tcp:host:7000")
        with pytest.raises(NodeUnreachable, match="less than"):
            await peers.channel("tcp:host:7000")
        listener = await site.serve(Handler(lambda call: call.answer(m.Done())))
        await asyncio.sleep(DIAL_AGAIN_S)
        first, second = await asyncio.gather(peers.channel("tcp:host:7000"), peers.channel("tcp:host:7000"))
        assert first is second
        first.close()
        third = await peers.channel("tcp:host:7000")
        assert third is not first
        assert (await third.call(m.NodeStatus(), timeout_s=1))[0] == m.Done()
        peers.close()
        assert third.closed
        await listener.aclose()

    run(main)
