"""A request is only asked inside the epoch in which its work began."""

import asyncio

import pytest

from objstore.daemons.fleet import Fleet
from objstore.errors import NodeUnreachable, NoSuchDevice, StaleEpoch
from objstore.wire.channel import serve
from objstore.wire.messages import SyncState, SyncStateAnswer
from ring import builder
from tests.support.memory_fleet import ring_of, world


def fleet() -> Fleet:
    return Fleet(world(), ring=ring_of(3), cluster_key=b"k" * 32, name="test")


def test_work_of_another_epoch_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(StaleEpoch):
        asyncio.run(fleet().ask(SyncState, SyncStateAnswer, 1, epoch=2))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(NoSuchDevice):
        asyncio.run(fleet().ask(SyncState, SyncStateAnswer, 99, epoch=1))


def test_a_dead_node_is_unreachable_and_reported_as_none() -> None:
    with pytest.raises(NodeUnreachable):
        asyncio.run(fleet().ask(SyncState, SyncStateAnswer, 1, epoch=1))
    assert set(asyncio.run(fleet().reports()).values()) == {None}


def test_a_node_of_another_cluster_is_reported_as_none_like_one_that_is_silent() -> None:
    async def main() -> None:
        acting = fleet()
        address = acting.addresses()[0]
        listener = await serve(acting.world, address, cluster_key=b"x" * 32, name="stranger", handler_factory=lambda _: None)  # type: ignore[arg-type,return-value] # nobody gets so far
        assert set((await acting.reports()).values()) == {None}
        await listener.aclose()
        await acting.aclose()

    asyncio.run(main())


def test_only_a_newer_ring_is_adopted() -> None:
    acting = fleet()
    newer = builder.change(acting.ring, [builder.Weigh(1, 2.0)], now_s=1e9)
    assert acting.adopt(newer)
    assert not acting.adopt(ring_of(3))
    assert acting.ring.epoch == 2
