"""Channels to nodes: dialing, what a dead one costs, health."""

import asyncio

import pytest

from objstore.cluster import client as module
from objstore.cluster.client import DIAL_TIMEOUT_S, DOWN_RANK, RETRY_AFTER_S, Clients, NodeClient
from objstore.errors import NodeUnreachable, ObjstoreError, TooBusy
from objstore.wire.channel import Channel
from objstore.wire.messages import GetRing, Message
from tests.support.scripted_nodes import KEY, Rig, run


class Calls:
    """Sends calls and keeps what came of them."""

    def __init__(self, client: NodeClient) -> None:
        self.client = client
        self.answers: list[Message | ObjstoreError | None] = []

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self.client.send(GetRing(), b"", timeout_s=5.0, done=self.done)

    def done(self, answer: Message | None, _payload: object, failure: ObjstoreError | None) -> None:
        self.answers.append(failure if answer is None else answer)


def of(rig: Rig, number: int = 0) -> Calls:
    return Calls(rig.cluster.members.client(number))


def test_one_connection_serves_all_calls() -> None:
    async def main(rig: Rig) -> None:
        calls = of(rig)
        calls.send(20)
        assert calls.answers == []
        assert calls.client.rank == 0
        await asyncio.sleep(0.1)
        assert len(calls.answers) == 20
        assert rig.simulation.fabric.counters.connections == 1

    run(main)


def test_a_node_that_is_down_fails_calls_at_once_and_is_dialed_now_and_then() -> None:
    async def main(rig: Rig) -> None:
        calls = of(rig)
        rig.nodes[0].stop()
        calls.send(3)
        await asyncio.sleep(0.1)
        assert [type(answer) for answer in calls.answers] == [NodeUnreachable] * 3
        assert calls.client.down
        assert calls.client.rank == DOWN_RANK
        calls.send()
        assert len(calls.answers) == 4  # from within the call
        unreachable = rig.simulation.fabric.counters.unreachable
        for _ in range(100):
            calls.send()
            calls.client.passed_over()
            await asyncio.sleep(RETRY_AFTER_S / 10)
        assert rig.simulation.fabric.counters.unreachable - unreachable <= 11
        rig.nodes[0].restart()
        await asyncio.sleep(RETRY_AFTER_S)
        calls.client.passed_over()
        await asyncio.sleep(0.1)
        assert not calls.client.down
        assert calls.client.rank == 0

    run(main)


def test_a_lost_connection_makes_a_node_one_to_be_asked_last() -> None:
    async def main(rig: Rig) -> None:
        calls = of(rig)
        calls.send()
        await asyncio.sleep(0.1)
        rig.nodes[0].stop()
        rig.nodes[0].restart()
        await asyncio.sleep(0.5)
        assert calls.client.down
        calls.send()
        await asyncio.sleep(0.1)
        assert not isinstance(calls.answers[-1], ObjstoreError)
        assert not calls.client.down

    run(main)


def test_nobody_waits_for_a_node_that_failed_and_does_not_finish_the_handshake() -> None:
    async def main(rig: Rig) -> None:
        calls = of(rig)
        rig.nodes[0].host.freeze()
        calls.send(2)
        await asyncio.sleep(DIAL_TIMEOUT_S + 0.1)
        assert [type(answer) for answer in calls.answers] == [NodeUnreachable] * 2
        await asyncio.sleep(RETRY_AFTER_S)
        calls.send()  # this one dials
        calls.send(5)
        assert len(calls.answers) == 7
        rig.nodes[0].host.thaw()
        await asyncio.sleep(1)
        assert not isinstance(calls.answers[-1], ObjstoreError)

    run(main)


def test_what_waits_for_a_dial_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 3)

    async def main(rig: Rig) -> None:
        calls = of(rig)
        calls.send(5)
        assert [type(answer) for answer in calls.answers] == [TooBusy] * 2
        await asyncio.sleep(0.1)
        assert len(calls.answers) == 5

    run(main)


def test_too_many_dials_fail_those_who_wait_and_do_not_stop_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIALS_AT_ONCE", 1)

    async def main(rig: Rig) -> None:
        clients = Clients(rig.proxy.world(), cluster_key=KEY, name="few")
        first, second = Calls(clients.at(rig.nodes[0].address)), Calls(clients.at(rig.nodes[1].address))
        first.send()
        second.send()
        assert [type(answer) for answer in second.answers] == [TooBusy]
        await asyncio.sleep(RETRY_AFTER_S + 0.1)
        second.send()
        await asyncio.sleep(0.1)
        assert not isinstance(first.answers[0], ObjstoreError)
        assert not isinstance(second.answers[-1], ObjstoreError)
        await clients.aclose()

    run(main)


def test_a_wrong_key_is_told_as_it_is() -> None:
    async def main(rig: Rig) -> None:
        clients = Clients(rig.proxy.world(), cluster_key=b"another key", name="stranger")
        calls = Calls(clients.at(rig.nodes[0].address))
        calls.send()
        await asyncio.sleep(1)
        assert isinstance(calls.answers[0], ObjstoreError)
        assert calls.client.down
        await clients.aclose()

    run(main)


def test_a_client_closed_while_it_dials_keeps_no_connection() -> None:
    async def main(rig: Rig) -> None:
        clients = Clients(rig.proxy.world(), cluster_key=KEY, name="short")
        calls = Calls(clients.at(rig.nodes[0].address))
        calls.send()
        clients.keep(set())
        await asyncio.sleep(0.5)
        calls.send()
        assert [type(answer) for answer in calls.answers] == [NodeUnreachable] * 2
        again = Calls(clients.at(rig.nodes[0].address))
        again.send()
        await clients.aclose()
        assert [type(answer) for answer in again.answers] == [NodeUnreachable]

    run(main)


def test_small_differences_of_latency_do_not_matter_and_large_ones_are_forgiven() -> None:
    async def main(rig: Rig) -> None:
        client = rig.cluster.members.client(0)
        await rig.cluster.members.channel_of(0)
        for _ in range(100):
            client.took(0.0015)
        assert client.rank == 0
        for _ in range(30):
            client.took(0.05)
        slow = client.rank
        assert slow > 3
        for _ in range(400):
            client.passed_over()
        assert client.rank == 0

    run(main)


def test_with_channel_gives_the_channel_that_send_uses() -> None:
    async def main(rig: Rig) -> None:
        given: list[Channel | None] = []
        client = rig.cluster.members.client(1)
        client.with_channel(lambda channel, _: given.append(channel))
        await asyncio.sleep(0.1)
        client.with_channel(lambda channel, _: given.append(channel))
        assert given[0] is not None
        assert given[0] is given[1]

    run(main)
