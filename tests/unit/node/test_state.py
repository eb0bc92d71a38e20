from types import SimpleNamespace
from typing import Any

import pytest

from objstore.core.timestamp import MAX_AHEAD_US, ballot_at
from objstore.errors import (
    BallotTooFarAhead,
    DeviceOffline,
    InvalidArgument,
    NewerEpoch,
    NoSuchDevice,
    Refused,
    StaleEpoch,
    TooBusy,
    WrongIncarnation,
)
from objstore.node import state as states
from objstore.node.state import (
    CURRENT,
    PREVIOUS,
    Condition,
    LocalDevice,
    NodeState,
    View,
    decode_in_sync,
    encode_in_sync,
    view_of,
)
from objstore.wire.messages import SyncState
from ring import builder
from ring.lookup import Ring
from ring.model import Device, RingSpec

WALL_US = 1_800_000_000_000_000


def device(number: int) -> Device:
    return Device(number, f"n{number}", f"tcp:host:{number + 1}", "r", f"z{number}", 1.0, bytes([number + 1]) * 8, f"/disks/{number}")


def first_ring(count: int = 4) -> Ring:
    return builder.create(RingSpec("default", 3, 4, 7, 0.0, 0.1), [device(n) for n in range(count)])


def moving_ring(ring: Ring) -> Ring:
    new = Device(-1, "n9", "tcp:host:10", "r", "z9", 1.0, b"9" * 8, "/disks/9")
    return builder.change(ring, [builder.Add(new)], now_s=1e9)


def local(number: int = 0) -> LocalDevice:
    here = LocalDevice(f"/disks/{number}")
    here.incarnation = bytes([number + 1]) * 8
    here.engine = SimpleNamespace(trouble="")  # type: ignore[assignment]  # nothing else here is called
    return here


def serving(ring: Ring, *numbers: int) -> tuple[NodeState, list[LocalDevice]]:
    devices = [local(number) for number in numbers]
    state = NodeState(devices, wall_us=lambda: WALL_US)
    state.switch(ring, b"", {ring.devices[n].incarnation: view_of(ring, n) for n in numbers})
    return state, devices


def asks(epoch: int, device: int = 0, incarnation: bytes = b"\1" * 8) -> SyncState:
    return SyncState(epoch, device, incarnation, 1000)


def test_a_view_says_for_every_partition_what_the_device_is() -> None:
    ring = first_ring()
    for number in ring.devices:
        view = view_of(ring, number)
        for partition in range(ring.partition_count):
            is_primary = number in ring.primaries(partition)
            assert (view.roles[partition], view.reading[partition]) == ((CURRENT, 1) if is_primary else (0, 0))
        assert view.refilling == frozenset()


def test_while_a_partition_moves_the_previous_primaries_are_read() -> None:
    ring = moving_ring(first_ring())
    assert ring.moving()
    for number in ring.devices:
        view = view_of(ring, number)
        for partition in range(ring.partition_count):
            now, before = number in ring.primaries(partition), number in (ring.previous(partition) or ring.primaries(partition))
            assert view.reading[partition] == before
            assert bool(view.roles[partition] & CURRENT) == now
            assert bool(view.roles[partition] & PREVIOUS) == (before and ring.previous(partition) is not None)
            assert (partition in view.refilling) == (now and not before)


def test_only_the_epoch_in_use_is_admitted() -> None:
    ring = moving_ring(first_ring())
    state, [here] = serving(ring, 0)
    assert state.admit(asks(ring.epoch)) is here
    with pytest.raises(StaleEpoch) as stale:
        state.admit(asks(ring.epoch - 1))
    assert stale.value.facts == {"epoch": ring.epoch}
    with pytest.raises(NewerEpoch) as newer:
        state.admit(asks(ring.epoch + 1))
    assert newer.value.facts == {"epoch": ring.epoch}


def test_a_node_without_a_ring_is_behind_everybody() -> None:
    with pytest.raises(NewerEpoch) as newer:
        NodeState([local()], wall_us=lambda: WALL_US).admit(asks(1))
    assert newer.value.facts == {"epoch": 0}


def test_a_device_elsewhere_is_no_device_and_a_wiped_one_is_another() -> None:
    ring = first_ring()
    state, [here] = serving(ring, 0)
    with pytest.raises(NoSuchDevice):
        state.admit(asks(ring.epoch, 1, b"\2" * 8))
    with pytest.raises(NoSuchDevice):
        state.admit(asks(ring.epoch, 77))
    with pytest.raises(WrongIncarnation):
        state.admit(asks(ring.epoch, 0, b"other..."))
    here.incarnation = b"wiped..."
    state.place(here, None)
    with pytest.raises(WrongIncarnation, match="wiped"):
        state.admit(asks(ring.epoch))
    assert here.condition is Condition.NEW


def test_a_device_that_did_not_open_is_offline() -> None:
    ring = first_ring()
    state, [here] = serving(ring, 0)
    here.engine, here.incarnation, here.detail = None, b"", "no such file"
    state.place(here, None)
    with pytest.raises(DeviceOffline, match="no such file"):
        state.admit(asks(ring.epoch))
    assert here.condition is Condition.OFFLINE
    with pytest.raises(DeviceOffline):
        here.open()


def test_a_device_that_has_served_in_a_newer_epoch_stays_silent() -> None:
    ring = first_ring()
    state, [here] = serving(ring, 0)
    here.noted_epoch = ring.epoch + 1
    with pytest.raises(DeviceOffline):
        state.admit(asks(ring.epoch))


def test_registers_are_served_only_by_primaries_of_their_partition() -> None:
    ring = moving_ring(first_ring())
    state, devices = serving(ring, *range(4))
    for here in devices:
        assert here.view is not None
        for partition in range(ring.partition_count):
            if here.view.device in {*ring.primaries(partition), *(ring.previous(partition) or ())}:
                state.check_primary(here, partition)
                if here.votes(partition):
                    with pytest.raises(Refused):
                        state.check_droppable(here, partition)
                else:
                    state.check_droppable(here, partition)  # left-overs of another time, before it is refilled
            else:
                state.check_droppable(here, partition)
                with pytest.raises(Refused):
                    state.check_primary(here, partition)
        for nowhere in (-1, ring.partition_count):
            with pytest.raises(Refused):
                state.check_primary(here, nowhere)
            with pytest.raises(Refused):
                state.check_droppable(here, nowhere)


def test_a_ballot_may_be_a_minute_ahead_and_no_more() -> None:
    state, _ = serving(first_ring(), 0)
    state.check_ballot(ballot_at(WALL_US + MAX_AHEAD_US << 12, 1))
    with pytest.raises(BallotTooFarAhead):
        state.check_ballot(ballot_at(WALL_US + MAX_AHEAD_US + 1 << 12, 1))
    with pytest.raises(InvalidArgument):
        state.check_ballot(b"short")  # type: ignore[arg-type]


def test_a_device_has_no_vote_for_what_it_still_lacks() -> None:
    here = local()
    here.set_pending([5, 3])
    assert [here.votes(partition) for partition in (3, 4, 5)] == [False, True, False]
    assert here.silent == (3, 5)


def test_a_new_ring_holds_requests_back_and_starts_refilling_anew() -> None:
    ring = first_ring()
    state, [here] = serving(ring, 0)
    assert here.held == []
    here.held = None
    newer = builder.change(ring, [builder.Remove(3)], now_s=1e9)
    view = view_of(newer, 0)
    state.switch(newer, b"bytes", {here.incarnation: view})
    assert here.held == []
    assert here.pending == view.refilling
    assert (state.epoch, state.ring_bytes) == (newer.epoch, b"bytes")


def test_a_device_that_the_new_ring_does_not_name_is_not_served() -> None:
    ring = first_ring()
    state, _ = serving(ring, 0)
    newer = builder.change(ring, [builder.Weigh(1, 2.0)], now_s=1e9)
    state.switch(newer, b"", {})
    with pytest.raises(WrongIncarnation):
        state.admit(asks(newer.epoch))


def test_the_barrier_waits_for_every_change_in_hand() -> None:
    here, told = local(), []
    here.when_drained(lambda: told.append(0))
    assert told == [0]
    here.change_begins(10)
    here.change_begins()
    here.when_drained(lambda: told.append(1))
    here.change_ends()
    assert told == [0]
    here.change_ends(10)
    here.change_begins()
    here.change_ends()
    assert told == [0, 1]
    assert (here.changes, here.change_bytes) == (0, 0)


def test_changes_and_held_requests_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MAX_CHANGES", 2)
    monkeypatch.setattr(states, "MAX_CHANGE_BYTES", 100)
    monkeypatch.setattr(states, "MAX_HELD", 1)
    here = local()
    here.change_begins(60)
    with pytest.raises(TooBusy):
        here.change_begins(41)
    here.change_begins(40)
    with pytest.raises(TooBusy):
        here.change_begins()
    here.held = []
    call: Any = object()
    here.hold(call, 1.0)
    with pytest.raises(TooBusy):
        here.hold(call, 2.0)
    assert here.held == [(call, 1.0)]


def test_a_note_of_another_epoch_says_nothing() -> None:
    note = encode_in_sync(7, {3, 1})
    assert decode_in_sync(note, 7) == {1, 3}
    assert decode_in_sync(note, 8) == frozenset()
    assert decode_in_sync(None, 7) == frozenset()


def test_views_are_values() -> None:
    assert view_of(first_ring(), 0) == view_of(first_ring(), 0)
    assert isinstance(view_of(first_ring(), 0), View)
