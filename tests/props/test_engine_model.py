"""The engine against a dict: any operations in any order, with power cuts and restarts between and during them.

The model keeps for each key what an acknowledged operation left.  An operation that was in flight when the power went may
have happened or not; the model then takes over what the engine answers, if it is one of the two.
"""

import asyncio
import contextlib
import dataclasses
import functools
from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from objstore.core.digests import contribution, digest_bytes
from objstore.core.replica import Kept, decide_accept, decide_prepare, is_stored_below, stored_with
from objstore.core.rows import Kind, Register, Row, RowKey, decode_row, encode_row
from objstore.core.timestamp import ZERO
from objstore.core.versions import head_key, is_version, rank, version_key
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import head_of
from objstore.wire.messages import PartitionRow
from tests.sim.host import HostDied
from tests.support.engine_rig import BUCKET, SMALL, SimRig, ballot, key, read, row, tombstone

TINY = dataclasses.replace(SMALL, pack_size_bytes=1500, checkpoint_rows=8, compact_dead_ratio=0.3)  # every mechanism runs often
NAMES = ["a", "b", "b/1", "b/2", "c", "x" * 600 + "1", "x" * 600 + "2", "x" * 600]
PARTITIONS = 4
numbers = st.integers(1, 60)
names = st.sampled_from(NAMES)
sizes = st.sampled_from([0, 1, 100, 3000])
maintenance = st.sampled_from(["checkpoint", "compact", "compact", "purge", "sweep_staged"])


def partition_of(where: RowKey) -> int:
    return sum(where.name) % PARTITIONS


def engine_rows(engine: Any, partition: int) -> dict[RowKey, Register]:
    items, _ = engine.partition_rows(partition, cursor=b"", limit=10_000, rows=True)
    return {item.key: item.register for item in items}


def payload_of(where: RowKey, number: int, size: int) -> bytes:
    return (where.name[:5] + b"%d." % number) * size if size < 10 else (b"%06d" % number) * (size // 6)


class EngineAgainstDict(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1 << 30))
    def begin(self, seed: int) -> None:
        self.rig = SimRig(seed, TINY)
        self.held: dict[RowKey, Register] = {}
        self.bytes: dict[tuple[RowKey, bytes], bytes] = {}
        self.floors: dict[int, bytes] = {}
        self.notes: dict[str, bytes] = {}
        self.blobs = 0

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.rig.run(self.rig.engine.close)
            self.rig.finish()

    # -- the model ---------------------------------------------------------------------------------------------------

    def model(self, where: RowKey) -> Register:
        return self.held.get(where) or Register(self.floors.get(partition_of(where), ZERO))

    def accept_in_model(self, where: RowKey, number: int, encoded: bytes, payload: bytes = b"") -> str:
        register = self.model(where)
        at, new_row = ballot(number), decode_row(encoded)
        old = decode_row(register.row) if register.row else None
        verdict, new = decide_accept(register, at, encoded)
        if any(r is not None and (r.version or r.effects) for r in (old, new_row)):
            verdict = self.versions_in_model(where, verdict, register, at, new_row, encoded, payload)
        if verdict == "yes" and new is not register:
            self.held[where] = new
        return verdict

    def versions_in_model(
        self, where: RowKey, verdict: str, register: Register, at: bytes, new: Row, encoded: bytes, payload: bytes
    ) -> str:
        old = decode_row(register.row) if register.row else None
        floor = self.floors.get(partition_of(where), ZERO)
        if verdict == "superseded" and is_version(new) and old is not None:
            if is_stored_below(register, old, at, new):
                before = self.kept(version_key(where, new.version))
                if before is None and at <= floor:
                    return "no"
                if before is None or rank(before.row) < rank(new):
                    self.keep(version_key(where, new.version), Kept(at, new, encoded), payload)
            elif register.promised > register.accepted and new.version != old.version:
                return "no"
        elif verdict == "yes" and at != register.accepted:
            if where in self.held and at <= floor:
                return "no"
            head = Kept(register.accepted, old, register.row) if old is not None else None
            stored = stored_with(head, at, new, lambda version: self.kept(version_key(where, version)), floor)
            if stored is None:
                return "no"
            for version, kept in stored.items():
                source = where if kept.of_head else version_key(where, version)
                held = self.held.get(source)
                origin = decode_row(held.row).origin if held is not None and held.row else ZERO
                self.keep(version_key(where, version), kept, self.bytes.get((source, origin), b""))
        return verdict

    def kept(self, where: RowKey) -> Kept | None:
        held = self.held.get(where)
        return Kept(held.accepted, decode_row(held.row), held.row) if held is not None else None

    def keep(self, where: RowKey, kept: Kept, payload: bytes) -> None:
        self.held[where] = Register(ZERO, kept.accepted, kept.encoded)
        if kept.row.kind == Kind.OBJECT:
            self.bytes[where, kept.row.origin] = payload

    # -- operations --------------------------------------------------------------------------------------------------

    @rule(name=names, number=numbers, size=sizes)
    def put(self, name: str, number: int, size: int) -> None:
        where = key(name)
        payload = payload_of(where, number, size)
        encoded = row(ballot(number), payload)
        register = self.model(where)
        if register.accepted == ballot(number):
            return  # one ballot is one proposal
        expected = self.accept_in_model(where, number, encoded, payload)
        if expected == "yes":
            self.bytes[where, ballot(number)] = payload
        answer = self.rig.run(
            lambda: self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=encoded, payload=payload)
        )
        assert answer.verdict == expected

    @rule(name=names, number=numbers, size=st.sampled_from([0, 5000]))
    def put_blob(self, name: str, number: int, size: int) -> None:
        where = key(name)
        if self.model(where).accepted == ballot(number):
            return
        self.blobs += 1
        blob = self.blobs.to_bytes(16, "big")
        data = payload_of(where, number, size)

        async def write() -> str:
            writer = await self.rig.engine.stage(blob, size=len(data))
            await writer.write(data)
            await writer.finish()
            encoded = row(ballot(number), blob=blob, size=len(data))
            answer = await self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=encoded)
            return answer.verdict

        expected = self.accept_in_model(where, number, row(ballot(number), blob=blob, size=len(data)), data)
        if expected == "yes":
            self.bytes[where, ballot(number)] = data
        assert self.rig.run(write) == expected

    @rule(name=names, number=numbers)
    def delete(self, name: str, number: int) -> None:
        where = key(name)
        if self.model(where).accepted == ballot(number):
            return
        expected = self.accept_in_model(where, number, tombstone(ballot(number)))
        answer = self.rig.run(
            lambda: self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=tombstone(ballot(number)))
        )
        assert answer.verdict == expected

    @rule(name=names, number=numbers, size=sizes, removes=st.one_of(st.none(), numbers), changes=st.one_of(st.none(), numbers))
    def put_version(self, name: str, number: int, size: int, removes: int | None, changes: int | None) -> None:
        """A PUT in a versioned bucket; now and then it removes one version, or changes the tags of one."""
        where = key(name)
        if self.model(where).accepted == ballot(number):
            return
        payload = payload_of(where, number, size)
        effects = []
        if removes is not None and removes != number:
            effects.append(row(ballot(number), kind=Kind.TOMBSTONE, version=ballot(removes).hex()))
        old = self.held.get(key(name, ballot(changes), space=3)) if changes not in (None, number, removes) else None
        if old is not None and decode_row(old.row).kind == Kind.OBJECT:
            effects.append(encode_row(msgspec.structs.replace(decode_row(old.row), origin=ballot(number), tags={"n": str(number)})))
        encoded = row(ballot(number), payload, version=ballot(number).hex(), effects=tuple(effects))
        expected = self.accept_in_model(where, number, encoded, payload)
        if expected == "yes":
            self.bytes[where, ballot(number)] = payload
        answer = self.rig.run(
            lambda: self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=encoded, payload=payload)
        )
        assert answer.verdict == expected

    @rule(name=names, number=numbers)
    def bring_back(self, name: str, number: int) -> None:
        """The head is removed, the newest version becomes the head again: its bytes are here already."""
        where = key(name)
        versions = [w for w, held in self.held.items() if w.name == where.name and w.space == 3 and head_of(held.row).kind == Kind.OBJECT]
        head = self.model(where)
        if not versions or not head.row or head.accepted == ballot(number) or head_of(head.row).kind != Kind.OBJECT:
            return
        newest = max(versions, key=lambda w: w.version)
        if decode_row(self.held[newest].row).version == decode_row(head.row).version:
            return
        removed = row(ballot(number), kind=Kind.TOMBSTONE, version=decode_row(head.row).version)
        again = msgspec.structs.replace(decode_row(self.held[newest].row), origin=ballot(number), effects=(removed,))
        payload = self.bytes[newest, decode_row(self.held[newest].row).origin]
        expected = self.accept_in_model(where, number, encode_row(again))
        if expected == "yes":
            self.bytes[where, ballot(number)] = payload
        answer = self.rig.run(
            lambda: self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=encode_row(again))
        )
        assert answer.verdict == expected

    @rule(name=names, number=numbers)
    def propose_again(self, name: str, number: int) -> None:
        """The row that is held, under a higher ballot, without its bytes."""
        where = key(name)
        held = self.model(where)
        if not held.row:
            return
        expected = self.accept_in_model(where, number, held.row)
        answer = self.rig.run(lambda: self.rig.engine.accept(where, partition=partition_of(where), ballot=ballot(number), row=held.row))
        assert answer.verdict == expected

    @rule(name=names, number=numbers)
    def prepare(self, name: str, number: int) -> None:
        where = key(name)
        granted, new = decide_prepare(self.model(where), ballot(number))
        if granted:
            self.held[where] = new
        answer = self.rig.run(lambda: self.rig.engine.prepare(where, partition=partition_of(where), ballot=ballot(number)))
        assert answer == (granted, new)

    @rule(name=names)
    def reclaim(self, name: str) -> None:
        where = key(name)
        held = self.held.get(where)
        if held is None or not held.row or head_of(held.row).kind != Kind.TOMBSTONE:
            return
        gone = held.promised <= held.accepted
        if gone:
            del self.held[where]
            partition = partition_of(where)
            self.floors[partition] = max(self.floors.get(partition, ZERO), held.accepted)
        assert self.rig.run(lambda: self.rig.engine.reclaim(where, partition=partition_of(where), ballot=held.accepted)) == gone

    @rule(name=names)
    def drop(self, name: str) -> None:
        """With its versions, as when a partition leaves."""
        where = key(name)
        names = [where, *(other for other in self.held if other.name == where.name and other.space == 3)]
        held = {other: self.held.pop(other, None) for other in names}
        items = [PartitionRow(other, register or Register()) for other, register in held.items()]
        dropped = self.rig.run(lambda: self.rig.engine.drop(items, partition=partition_of(where)))
        assert dropped == sum(register is not None for register in held.values())

    @rule(name=names, number=numbers, promised=numbers, floor=numbers)
    def merge(self, name: str, number: int, promised: int, floor: int) -> None:
        where = key(name)
        partition = partition_of(where)
        register = self.model(where)
        payload = payload_of(where, number, 100)
        encoded = row(ballot(number), payload)
        incoming = Register(ballot(promised), ballot(number), encoded)
        verdict, new = decide_accept(register, ballot(number), encoded)
        if new is not register:
            old = decode_row(register.row) if register.row else None
            if old is not None and (old.version or old.effects):
                verdict = self.versions_in_model(where, verdict, register, ballot(number), decode_row(encoded), encoded, payload)
                new = new if verdict == "yes" else register
        if new is not register:
            self.bytes[where, ballot(number)] = payload
        merged = Register(max(new.promised, ballot(promised)), new.accepted, new.row)
        changed = merged != register or ballot(floor) > self.floors.get(partition, ZERO)
        if merged != register:
            self.held[where] = merged
        self.floors[partition] = max(self.floors.get(partition, ZERO), ballot(floor))
        answer = self.rig.run(
            lambda: self.rig.engine.merge(where, partition=partition, register=incoming, payload=payload, floor=ballot(floor))
        )
        assert answer == changed

    @rule(name=st.sampled_from(["epoch", "sync"]), value=st.one_of(st.none(), st.binary(max_size=4)))
    def note(self, name: str, value: bytes | None) -> None:
        self.rig.run(lambda: self.rig.engine.set_notes({name: value}))
        if value is None:
            self.notes.pop(name, None)
        else:
            self.notes[name] = value

    @rule(what=maintenance)
    def maintain(self, what: str) -> None:
        self.rig.run(lambda: self.rig.engine.maintain(what))

    # -- trouble -----------------------------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.rig.reopen()

    @rule(power=st.booleans())
    def crash(self, power: bool) -> None:
        self.rig.crash(power=power)

    @rule()
    def rebuild(self) -> None:
        """Throw the index away: everything must come back from the packs."""
        self.rig.run(self.rig.engine.close)
        self.rig.host.storage.volume("/disks/a")[0].kv_stores.clear()
        self.rig.open()

    @rule(name=names, start=st.integers(61, 90), count=st.integers(1, 8), delay_ms=st.floats(0, 3))
    def crash_in_flight(self, name: str, start: int, count: int, delay_ms: float) -> None:
        """Cut the power while several writes of one key are on their way."""
        where = key(name)
        engine = self.rig.engine
        partition = partition_of(where)
        base = max(start, int.from_bytes(self.model(where).highest[:8], "big") // 4096 + 1)

        async def write(number: int) -> None:
            payload = payload_of(where, number, 100)
            await engine.accept(where, partition=partition, ballot=ballot(number), row=row(ballot(number), payload), payload=payload)

        answered: list[int] = []

        async def writer(number: int) -> None:
            await write(number)
            answered.append(number)

        async def all_of_them() -> None:
            await asyncio.gather(*(writer(base + i) for i in range(count)))

        async def cut() -> None:
            call = asyncio.ensure_future(self.rig.host.call(all_of_them))
            await asyncio.sleep(delay_ms / 1000)
            self.rig.host.kill(power=True)
            with contextlib.suppress(HostDied):
                await call

        self.rig.simulation.run(cut(), limit_s=self.rig.simulation.scheduler.now_s + 60)
        self.rig.host.boot()
        self.rig.open()
        found = self.rig.engine.query(where, partition=partition)
        before = self.model(where)
        if found.accepted != before.accepted:
            number = int.from_bytes(found.accepted[:8], "big") // 4096
            assert base <= number < base + count
            payload = payload_of(where, number, 100)
            assert self.accept_in_model(where, number, row(ballot(number), payload), payload) == "yes"
            self.bytes[where, ballot(number)] = payload
        elif before.row and decode_row(before.row).version:
            # The version that the head was to become lies before the next head in the journal, which may have been torn off.
            demoted = version_key(where, decode_row(before.row).version)
            if engine_rows(self.rig.engine, partition).get(demoted) == Register(ZERO, before.accepted, before.row):
                self.keep(
                    demoted,
                    Kept(before.accepted, decode_row(before.row), before.row),
                    self.bytes.get((where, decode_row(before.row).origin), b""),
                )
        assert not answered or found.accepted >= ballot(max(answered))

    # -- what must always hold ------------------------------------------------------------------------------------------

    @precondition(lambda self: hasattr(self, "rig"))
    @invariant()
    def registers_are_the_same(self) -> None:
        engine = self.rig.engine
        for name in NAMES:
            where = key(name)
            assert engine.query(where, partition=partition_of(where)) == self.model(where)
        for where, held in self.held.items():
            if where.space == 0:
                assert engine.query(where, partition=partition_of(where)) == held
        for partition in range(PARTITIONS):
            assert engine.floor(partition) == self.floors.get(partition, ZERO)
        assert {name: engine.note(name) for name in ("epoch", "sync")} == {n: self.notes.get(n) for n in ("epoch", "sync")}

    def _is_head(self, where: RowKey) -> bool:
        """Whether the head held is this very version: it is counted once."""
        held = self.held.get(head_key(where))
        head = head_of(held.row) if held is not None else None
        return head is not None and head.kind == Kind.OBJECT and head.version == where.version.hex()

    @precondition(lambda self: hasattr(self, "rig"))
    @invariant()
    def sums_are_the_same(self) -> None:
        engine = self.rig.engine
        sums = {p: [0, 0] for p in range(PARTITIONS)}
        objects = size = versions = versions_size = 0
        for where, held in self.held.items():
            total = sums[partition_of(where)]
            total[0] ^= contribution(encode_key(where), held.accepted)
            total[1] += held.accepted != ZERO
            head = head_of(held.row)
            if head.kind == Kind.OBJECT and where.space == 0:
                objects += 1
                size += head.size
            elif head.kind == Kind.OBJECT and not self._is_head(where):
                versions += 1
                versions_size += head.size
        assert engine.digests(range(PARTITIONS)) == [(digest_bytes(t[0]), t[1]) for t in sums.values()]
        assert engine.bucket_counters(BUCKET) == (objects, size)
        assert engine.version_counters(BUCKET) == (versions, versions_size)
        assert engine.stats().rows == len(self.held)

    @precondition(lambda self: hasattr(self, "rig"))
    @invariant()
    def walks_are_complete_and_in_order(self) -> None:
        engine = self.rig.engine
        for space in (0, 3):
            expected = sorted(
                (where.name, bytes(255 - b for b in where.version), where.version, held.accepted)
                for where, held in self.held.items()
                if where.space == space and head_of(held.row).kind == Kind.OBJECT
            )
            page = engine.scan(
                BUCKET, space, prefix=b"", start=b"", limit=1000, delimiter=b"", partitions=b"\x01" * PARTITIONS, versions=space == 3
            )
            assert page.scanned_to is None
            assert [(r.name, r.version, r.accepted) for r in page.rows] == [(e[0], e[2], e[3]) for e in expected]
        found = {}
        for partition in range(PARTITIONS):
            cursor: bytes | None = b""
            while cursor is not None:
                items, cursor = engine.partition_rows(partition, cursor=cursor, limit=3, rows=True)
                found.update({item.key: item.register for item in items})
        assert found == self.held

    @rule()
    def bytes_are_the_same(self) -> None:
        for where, held in self.held.items():
            head = head_of(held.row)
            if head.kind == Kind.OBJECT:
                number = int.from_bytes(head.origin[:8], "big") // 4096
                assert (
                    self.rig.run(lambda where=where, number=number: read(self.rig.engine, where, number)) == self.bytes[where, head.origin]
                )

    @rule()
    def audit_finds_nothing(self) -> None:
        cursor: bytes | None = b""
        while cursor is not None:
            step = self.rig.run(functools.partial(self.rig.engine.audit, cursor, budget_bytes=2000))
            assert not step.damaged
            cursor = step.cursor


EngineAgainstDict.TestCase.settings = settings(
    max_examples=30, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEngineAgainstDict: Any = EngineAgainstDict.TestCase
