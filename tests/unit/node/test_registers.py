import asyncio

import msgspec
import pytest

from objstore.core.rows import EMPTY, Kind, Register
from objstore.core.timestamp import MAX_AHEAD_US, ZERO
from objstore.errors import BallotTooFarAhead, DamagedBody, DeadlineExceeded, InvalidArgument, Refused, StaleEpoch, TooBusy, Unavailable
from objstore.node import state as states
from objstore.wire import messages as m
from ring import builder
from tests.support.nodes import Nodes, ballot, key, row
from tests.support.wires import Site, run


def test_prepare_promises_and_accept_obeys_the_promise() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        promised = await nodes.ask(m.Prepare, partition=0, key=key(), ballot=ballot(5))
        assert (promised.granted, promised.register.promised) == (True, ballot(5))
        refused = await nodes.ask(m.Prepare, partition=0, key=key(), ballot=ballot(4))
        assert not refused.granted
        lower = await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(4), row=row(4))
        assert (lower.verdict, lower.highest) == ("no", ballot(5))
        assert (await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(5), row=row(5))).verdict == "yes"
        superseded = await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(3), row=row(3))
        assert (superseded.verdict, superseded.base) == ("superseded", ballot(5))
        await nodes.stop()

    run(main)


def test_registers_of_foreign_partitions_and_ballots_of_broken_clocks_are_refused() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        foreign = next(p for p in range(4) if 0 not in nodes.ring.primaries(p))
        own = next(p for p in range(4) if 0 in nodes.ring.primaries(p))
        for kind, fields in ((m.Query, {}), (m.Prepare, {"ballot": ballot()}), (m.Accept, {"ballot": ballot(), "row": row()})):
            with pytest.raises(Refused, match="no primary"):
                await nodes.ask(kind, partition=foreign, key=key(), **fields)
        ahead = ballot(ahead_us=MAX_AHEAD_US + 60_000_000)
        for kind, fields in ((m.Prepare, {}), (m.Accept, {"row": row()})):
            with pytest.raises(BallotTooFarAhead):
                await nodes.ask(kind, partition=own, key=key(), ballot=ahead, **fields)
        handoff = await nodes.ask(m.Accept, partition=foreign, key=key(), ballot=ballot(), row=row(), handoff=True)
        assert handoff.verdict == "yes"
        await nodes.stop()

    run(main)


def test_what_a_row_says_of_its_payload_is_held_against_it() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        with pytest.raises(InvalidArgument):
            await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=b"no row")
        with pytest.raises(DamagedBody):
            await nodes.ask(m.Accept, 0, b"wrong", partition=0, key=key(), ballot=ballot(), row=row(1, b"right"), has_payload=True)
        assert (await nodes.ask(m.Query, partition=0, key=key())).register == EMPTY
        await nodes.stop()

    run(main)


def test_a_device_that_is_being_refilled_says_so_in_every_answer() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        spare = builder.change(nodes.ring, [builder.Remove(3)], now_s=1e9)
        await nodes.publish(spare)
        partition = spare.moving()[0]
        [new] = set(spare.primaries(partition)) - set(spare.previous(partition) or ())
        register = await nodes.ask(m.Query, new, partition=partition, key=key())
        promise = await nodes.ask(m.Prepare, new, partition=partition, key=key(), ballot=ballot(1))
        accept = await nodes.ask(m.Accept, new, partition=partition, key=key(), ballot=ballot(2), row=row(2))
        assert [register.voting, promise.voting, accept.voting] == [False] * 3
        old = next(d for d in spare.primaries(partition) if d != new)
        assert (await nodes.ask(m.Query, old, partition=partition, key=key())).voting
        await nodes.stop()

    run(main)


def test_a_missing_inline_body_is_fetched_before_the_row_is_accepted() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        body = b"small body" * 1000
        fields = {"partition": 0, "key": key(), "ballot": ballot(), "row": row(1, body)}
        await nodes.ask(m.Accept, 0, body, has_payload=True, **fields)
        with pytest.raises(Unavailable, match="no source"):
            await nodes.ask(m.Accept, 1, **fields)
        assert (await nodes.ask(m.Accept, 1, sources=(2, 0), **fields)).verdict == "yes"
        _, payload = await nodes.ask_both(m.Query, 1, partition=0, key=key(), inline=True)
        assert payload == body
        await nodes.stop()

    run(main)


def test_a_missing_blob_is_fetched_once_however_many_ask() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        body = bytes(range(256)) * 4000
        blob = b"b" * 16
        upload = await (await nodes.channel(0)).open_upload(
            nodes.request(m.StageBody, 0, partition=0, blob=blob, size=len(body)), timeout_s=10
        )
        await upload.write(body)
        await upload.finish()
        fields = {"partition": 0, "key": key(), "ballot": ballot(), "row": row(1, blob=blob, size=len(body))}
        await nodes.ask(m.Accept, 0, **fields)
        answers = await asyncio.gather(*(nodes.ask(m.Accept, 1, sources=(0,), **fields) for _ in range(5)))
        assert [answer.verdict for answer in answers] == ["yes"] * 5
        assert nodes.apps[0].counters["sent_bytes"] == len(body)
        await nodes.stop()

    run(main)


def test_merge_takes_over_row_and_promise_and_tells_what_is_held_then() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        body = b"x" * 100
        await nodes.ask(m.Accept, 0, body, partition=0, key=key(), ballot=ballot(3), row=row(3, body), has_payload=True)
        register = (await nodes.ask(m.Query, 0, partition=0, key=key())).register
        merged = await nodes.ask(
            m.Merge, 1, partition=0, key=key(), register=msgspec.structs.replace(register, promised=ballot(9)), sources=(0,)
        )
        assert merged == m.Merged(changed=True, bytes_pulled=100, accepted=ballot(3), promised=ballot(9))
        again = await nodes.ask(m.Merge, 1, partition=0, key=key(), register=register, sources=(0,))
        assert again == m.Merged(changed=False, bytes_pulled=0, accepted=ballot(3), promised=ballot(9))
        with pytest.raises(InvalidArgument):
            await nodes.ask(m.Merge, 1, partition=0, key=key(), register=Register(ZERO, ballot(20), b"no row"))
        await nodes.stop()

    run(main)


def test_a_tombstone_is_reclaimed_at_exactly_its_ballot() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(2), row=row(2, kind=Kind.TOMBSTONE))
        assert not (await nodes.ask(m.Reclaim, partition=0, key=key(), ballot=ballot(1))).dropped
        assert (await nodes.ask(m.Reclaim, partition=0, key=key(), ballot=ballot(2))).dropped
        after = (await nodes.ask(m.Query, partition=0, key=key())).register
        assert (after.row, after.promised) == (b"", ballot(2)), "an absent register counts as promised up to the floor"
        assert (await nodes.ask(m.Prepare, partition=0, key=key(), ballot=ballot(9))).floor == ballot(2)
        await nodes.stop()

    run(main)


def test_a_primary_drops_nothing_and_a_stranger_drops_what_still_matches() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 4)
        foreign = next(p for p in range(4) if 0 not in nodes.ring.primaries(p))
        own = next(p for p in range(4) if 0 in nodes.ring.primaries(p))
        await nodes.ask(m.Accept, partition=foreign, key=key("a"), ballot=ballot(1), row=row(1), handoff=True)
        await nodes.ask(m.Accept, partition=foreign, key=key("b"), ballot=ballot(2), row=row(2), handoff=True)
        items = [m.PartitionRow(key("a"), Register(ZERO, ballot(1))), m.PartitionRow(key("b"), Register(ZERO, ballot(1)))]
        with pytest.raises(Refused):
            await nodes.ask(m.DropPartition, partition=own, items=items)
        assert (await nodes.ask(m.DropPartition, partition=foreign, items=items)).rows == 1
        left = await nodes.ask(m.PartitionRows, partition=foreign, cursor=b"", limit=10)
        assert [item.key for item in left.items] == [key("b")]
        await nodes.stop()

    run(main)


def test_a_change_is_counted_until_it_is_flushed_though_its_caller_gave_up() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        [device] = nodes.apps[0].state.devices
        channel = await nodes.channel(0)
        request = nodes.request(m.Merge, partition=0, key=key(), register=Register(ballot(1), ballot(1), row()))
        task = asyncio.ensure_future(channel.call(request, timeout_s=10))
        while not device.changes:
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.sleep(5)
        assert device.changes == 0
        assert (await nodes.ask(m.Query, partition=0, key=key())).register.row == row()
        await nodes.stop()

    run(main)


def test_changes_of_a_device_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MAX_CHANGES", 3)

    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        work = [nodes.ask(m.Accept, partition=0, key=key(str(n)), ballot=ballot(), row=row()) for n in range(10)]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        kinds = [type(outcome) for outcome in outcomes]
        assert kinds.count(m.AcceptAnswer) >= 3
        assert TooBusy in kinds
        assert (await nodes.ask(m.Accept, partition=0, key=key("later"), ballot=ballot(), row=row())).verdict == "yes"
        await nodes.stop()

    run(main)


def test_an_accept_whose_body_came_after_the_epoch_ended_is_refused() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        body = b"x" * 1000
        fields = {"partition": 0, "key": key(), "ballot": ballot(), "row": row(1, body)}
        await nodes.ask(m.Accept, 0, body, has_payload=True, **fields)
        channel = await nodes.channel(1)
        site.link.slow_s = 0.3
        waiting = asyncio.ensure_future(channel.call(nodes.request(m.Accept, 1, sources=(0,), **fields), timeout_s=60))
        await asyncio.sleep(1.0)
        site.link.slow_s = 0.0
        await nodes.publish(builder.change(nodes.ring, [builder.Weigh(0, 2.0)], now_s=1e9))
        with pytest.raises(StaleEpoch):
            await waiting
        assert (await nodes.ask(m.Query, 1, partition=0, key=key())).register == EMPTY
        await nodes.stop()

    run(main)


def test_a_pull_that_hangs_ends_with_its_caller() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site)
        body = b"x" * 1000
        fields = {"partition": 0, "key": key(), "ballot": ballot(), "row": row(1, body)}
        await nodes.ask(m.Accept, 0, body, has_payload=True, **fields)

        async def hang(*_args: object, **_fields: object) -> None:
            await asyncio.sleep(1000)

        nodes.apps[0].state.devices[0].engine.read_body = hang  # type: ignore[union-attr,method-assign,assignment]
        with pytest.raises((DeadlineExceeded, Unavailable)):
            await nodes.ask(m.Accept, 1, sources=(0,), timeout_s=2.0, **fields)
        await asyncio.sleep(3)
        assert len(nodes.apps[1]._listener.tasks) == 0
        await nodes.stop()

    run(main)
