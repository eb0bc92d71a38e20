"""Rows of servers: compare-and-set, what goes with a deleted one, what was done."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from objstore.runtime.sql import MEMORY, open_sql
from objstore.services.compute import records
from objstore.services.compute.desks import Flavor
from objstore.services.compute.records import Disk, Nic, Server
from objstore.services.compute.tables import ACTIONS, EVENTS, MIGRATIONS, SCHEMA
from objstore.services.tables.migrations import migrate
from tests.support.memory_cluster import LoopClock, memory_world, run

DISK = Disk("d1", "s1", 0, "wanted", "ab" * 16, "", "", "image", "local", "i1", 1, "", "vda", "virtio", 0, True, False, "", 5)
NIC = Nic("n1", "s1", 0, "wanted", "", "net", "", "", True, "", 5)
FLAVOR = Flavor("f", "small", 1, 64, 1, extra_specs={"a": "b"})
SERVER = Server(
    "s1", "p", "u", "name", "building", 5, 5, "f", records.json_text(FLAVOR), 1, 64, task_state="scheduling", metadata={"a": "1"}, tags=["t"],
    disks=[DISK], nics=[NIC],
)  # fmt: skip


def on_tables(work: Any) -> None:
    async def main() -> None:
        sql = open_sql(MEMORY, memory_world(LoopClock()))
        try:
            await migrate(sql, SCHEMA, 1)
            await sql.write(work)
        finally:
            await sql.aclose()

    run(main())


def test_a_server_is_read_as_it_was_written() -> None:
    def work(connection: Connection) -> None:
        records.add(connection, SERVER)
        found = records.find(connection, "s1")
        assert found == SERVER
        assert found.as_flavor == FLAVOR
        assert found.key is None
        assert records.find(connection, "s2") is None

    on_tables(work)


def test_only_who_finds_the_state_he_expects_changes_it() -> None:
    def work(connection: Connection) -> None:
        records.add(connection, SERVER)
        assert not records.change(connection, "s1", task_states=("spawning",), vm_state="active")
        assert not records.change(connection, "s1", vm_states=("active",), task_state="deleting")
        assert records.change(connection, "s1", vm_states=("building",), task_states=("scheduling",), task_state="spawning")
        assert records.change_disk(connection, "d1", states=("wanted",), state="ready")
        assert not records.change_disk(connection, "d1", states=("wanted",), state="ready")
        assert records.change_nic(connection, "n1", states=("wanted",), state="ready", port="p1")
        assert not records.change_nic(connection, "n1", states=("wanted",), state="ready")

    on_tables(work)


def test_a_deleted_server_keeps_its_row_alone_and_never_changes_again() -> None:
    def work(connection: Connection) -> None:
        records.add(connection, SERVER)
        assert records.bury(connection, "s1", now_us=9)
        assert not records.bury(connection, "s1", now_us=10)
        assert not records.change(connection, "s1", vm_state="active")
        found = records.find(connection, "s1")
        assert found == replace(
            SERVER, vm_state="deleted", task_state="", deleted_us=9, terminated_us=9, updated_us=9, metadata={}, tags=[], disks=[], nics=[]
        )
        assert records.living(connection, "s1") is None

    on_tables(work)


def test_actions_events_and_moves_are_remembered_once() -> None:
    def work(connection: Connection) -> None:
        records.add(connection, SERVER)
        for _ in range(2):
            records.begin_action(connection, "s1", "req-1", "stop", "p", "u", now_us=1)
            records.begin_event(connection, "s1", "req-1", "compute_stop_instance", "h", now_us=2)
        records.end_event(connection, "s1", "req-1", "compute_stop_instance", records.FAILED, now_us=3, details="why")
        records.end_event(connection, "s1", "req-1", "compute_stop_instance", records.SUCCESS, now_us=4)
        (action,) = connection.execute(select(ACTIONS)).all()
        assert (action.message, action.updated_us) == ("Error", 4)
        (event,) = connection.execute(select(EVENTS)).all()
        assert (event.result, event.finished_us, event.details) == ("Error", 3, "why")
        for kind in ("resize", "migration"):
            records.begin_move(connection, SERVER, kind, kind, target="", new_flavor="g", user_id="u", now_us=1)
        records.change_move(connection, "s1", "finished", now_us=2, target="h2")
        assert [(row.number, row.status, row.target) for row in connection.execute(select(MIGRATIONS).order_by(MIGRATIONS.c.number))] == [
            (1, "failed", ""), (2, "finished", "h2"),
        ]  # fmt: skip
        assert records.last_move(connection, "s1") == ("finished", "h2")
        assert records.last_move(connection, "s2") == ("", "")
        records.end_moves(connection, "s1", "cancelled", now_us=3)
        assert [row.status for row in connection.execute(select(MIGRATIONS).order_by(MIGRATIONS.c.number))] == ["failed", "cancelled"]
        for number in (1, 2):
            records.set_fault(connection, "s1", 500, f"fault {number}" + "x" * 300, now_us=number)
        found = records.find(connection, "s1")
        assert found is not None
        assert (found.fault.code, found.fault.message[:7], len(found.fault.message)) == (500, "fault 2", 255)

    on_tables(work)


def test_what_another_request_holds_is_not_changed_and_a_guest_arrives_once() -> None:
    def work(connection: Connection) -> None:
        records.add(connection, replace(SERVER, task="req-2", host="h1", other_host="h2"))
        assert not records.change(connection, "s1", task_states=("scheduling",), request="req-1", vm_state="active")
        assert records.change(connection, "s1", task_states=("scheduling",), request="req-2", vm_state="active")
        found = records.find(connection, "s1")
        assert found is not None
        assert not records.arrive(connection, found, "h3")
        assert records.arrive(connection, found, "h2")
        assert not records.arrive(connection, found, "h2")
        again = records.find(connection, "s1")
        assert again is not None
        assert (again.host, again.other_host) == ("h2", "")

    on_tables(work)
