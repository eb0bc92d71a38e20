"""A random-schedule model of one key with versions: the shipped machines and replica rules under a lying network.

As register_model.py, whose schedule this uses; what is different is what clients do (put versions, null versions and delete markers,
create, read the head, read and remove single versions), that replicas hold versions besides the head, that daemons exchange rows,
settle and reclaim tombstones of versions, and what the history is checked against: a key that has a head and versions.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from objstore.core.agreement import FamilyWrite
from objstore.core.inquiry import Versions
from objstore.core.machine import Round, Step, Verdict
from objstore.core.reads import LookAtVersion, Settlement, VersionRead, VersionSettlement
from objstore.core.replica import Kept, accepted_above, decide_accept, decide_version, is_stored_below, stored_with
from objstore.core.rows import EMPTY, NEW_VERSION, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, HybridClock, wall_us_of
from objstore.core.versions import age_key, is_version, new_version, rank, speaks_of, without_version
from objstore.errors import NoSuchVersion, PreconditionFailed
from tests.support.register_model import Client, Model, Replica, Rules

NEWEST_AT_ONCE = 1  # so that asking for more happens often
KINDS = ["put", "null", "marker", "create", "get", "getv", "remove", "tag", "create null", "null if"]
WRITES = ("put", "null", "marker", "create", "create null", "null if")
NOTHING = ""


# -- replicas --------------------------------------------------------------------------------------------------------


class VersionReplica(Replica):
    """One device's side, as node/engine/registers.py and versions.py have it."""

    def __init__(self, device: int) -> None:
        super().__init__(device)
        self.versions: dict[str, Kept] = {}

    def head(self) -> Register:
        held = self.register
        return held if held.accepted != ZERO else Register(max(held.promised, self.floor))

    def prepare(self, ballot: Ballot) -> bool:
        self.register = self.head()
        return super().prepare(ballot)

    def accept(self, ballot: Ballot, row: bytes) -> tuple[str, Ballot, Ballot]:
        register = self.head()
        verdict, new = decide_accept(register, ballot, row)
        new_row = decode_row(row)
        old = decode_row(register.row) if register.row else None
        if verdict == "superseded" and old is not None:
            return self.superseded(register, old, ballot, new_row, row)
        if verdict != "yes" or new is register:
            return verdict, register.highest, ZERO
        stored = None
        if old is None or ballot > self.floor:
            head = Kept(register.accepted, old, register.row) if old is not None else None
            stored = stored_with(head, ballot, new_row, self.versions.get, self.floor)
        if stored is None:
            return "no", max(register.highest, self.floor), ZERO
        self.versions.update(stored)
        self.register = new
        return verdict, new.highest, ZERO

    def superseded(self, register: Register, old: Row, ballot: Ballot, new: Row, row: bytes) -> tuple[str, Ballot, Ballot]:
        if is_version(new) and is_stored_below(register, old, ballot, new):
            before = self.versions.get(new.version)
            if before is None and ballot <= self.floor:
                return "no", max(register.highest, self.floor), ZERO
            if before is None or rank(before.row) < rank(new):
                self.versions[new.version] = Kept(ballot, new, row)
        elif is_version(new) and register.promised > register.accepted and new.version != old.version:
            return "no", register.highest, ZERO
        return "superseded", register.highest, self.base_of(register.row)

    def above(self, version: str) -> Row | None:
        row = decode_row(self.register.row) if self.register.row else None
        return row if row is not None and speaks_of(row, version) else None

    def query_version(self, version: str) -> Register:
        stored, above = self.versions.get(version), self.above(version)
        promised = self.register.promised if self.register.promised > self.register.accepted else ZERO
        if above is not None and (is_version(above) or stored is None or rank(above) >= rank(stored.row)):
            return Register(promised, self.register.accepted, self.register.row)
        if stored is None:
            return Register(max(promised, self.floor))
        return Register(promised, stored.accepted, stored.encoded)

    def accept_version(self, version: str, ballot: Ballot, row: bytes) -> tuple[str, Ballot, Ballot]:
        new = decode_row(row)
        stored = self.versions.get(version)
        head = self.register if self.register.accepted != ZERO or self.register.promised != ZERO else EMPTY
        verdict, stores = decide_version(stored, head, self.above(version), ballot, new, self.floor)
        if stores:
            if head.promised > head.accepted and ballot > head.promised:
                self.register = Register(ballot, head.accepted, head.row)
            self.versions[version] = Kept(accepted_above(ballot, stored, new), new, row)
        return verdict, max(stored.accepted if stored else ZERO, head.highest, self.floor), ZERO

    def merge_version(self, kept: Kept) -> None:
        version = kept.row.version
        stored = self.versions.get(version)
        if stored is None and kept.row.origin <= self.floor:
            return
        head = self.register if self.register.accepted != ZERO or self.register.promised != ZERO else EMPTY
        if decide_version(stored, head, self.above(version), kept.accepted, kept.row, self.floor)[1]:
            self.versions[version] = Kept(accepted_above(kept.accepted, stored, kept.row), kept.row, kept.encoded)

    def newest(self, below: str) -> list[Row]:
        rows = [kept.row for kept in self.versions.values() if is_version(kept.row)]
        found = sorted((row for row in rows if row.version and (not below or row.version < below)), key=age_key, reverse=True)
        return [row for row in rows if not row.version] + found[:NEWEST_AT_ONCE]

    def reclaim_version(self, version: str, ballot: Ballot) -> None:
        kept = self.versions.get(version)
        if kept is None:
            self.floor = max(self.floor, ballot)
        elif kept.accepted == ballot and kept.row.kind == Kind.TOMBSTONE and self.above(version) is None:
            self.floor = max(self.floor, ballot)
            del self.versions[version]


# -- what a key is ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """One operation of one client.  `slot` names a version ("" the null version), `value` what is in it; `age` orders versions."""

    kind: str
    start: int
    end: int | None = None
    slot: str = ""
    value: str = NOTHING
    age: tuple[int, str] = (0, "")
    ok: bool = True
    result: str = NOTHING
    expected: str = NOTHING  # of "null if": the value that the head must have


Entry = tuple[tuple[int, str], str, str]  # age, slot, value
State = tuple[Entry | None, frozenset[Entry]]


def outcomes(state: State, act: Act) -> Iterator[State]:
    """The states that the operation can leave behind in this one; none if it cannot have happened so."""
    head, others = state
    new = (act.age, act.slot, act.value)
    match act.kind:
        case "put" | "null" | "marker" | "create" | "create null" | "null if":
            if act.end is None and (act.slot or "null" in act.kind) and (head is None or head[1] != act.slot):
                # Who gave up may leave a version behind that was never the latest, whatever his condition.
                yield head, frozenset(entry for entry in others if entry[1] != act.slot) | {new}
            if act.kind in ("create", "create null", "null if"):
                blocked = head is not None and not head[2].startswith("marker")
                if act.kind == "null if":
                    blocked = head is None or head[2] != act.expected
                if not act.ok:
                    if blocked:
                        yield state
                    return
                if blocked:
                    return
            kept = others | {head} if head is not None and head[1] != act.slot else others
            yield new, frozenset(entry for entry in kept if entry[1] != act.slot)
        case "get":
            if act.end is None or (head[2] if head is not None else NOTHING) == act.result:
                yield state
        case "getv":
            found = next((entry[2] for entry in (head, *others) if entry is not None and entry[1] == act.slot), NOTHING)
            if act.end is None or found == act.result:
                yield state
        case "remove":
            there = any(entry is not None and entry[1] == act.slot for entry in (head, *others))
            if there != act.ok:
                return
            rest = frozenset(entry for entry in others if entry[1] != act.slot)
            if head is not None and head[1] == act.slot:
                head = max(rest, default=None)
                rest = frozenset(entry for entry in rest if entry is not head)
            yield head, rest
        case _:
            raise AssertionError(act.kind)


def explains(history: list[Act]) -> bool:
    """Whether some order of the operations, each between its start and its end, explains all results (see linearizability.py)."""
    events = sorted(
        (when, is_end, number) for number, act in enumerate(history) for is_end, when in ((0, act.start), (1, act.end)) if when is not None
    )
    pending: set[int] = set()
    configurations: set[tuple[State, int]] = {((None, frozenset()), 0)}
    for _, is_end, number in events:
        if not is_end:
            pending.add(number)
            continue
        bit = 1 << number
        done = {c for c in configurations if c[1] & bit}
        seen, frontier = set(configurations), [c for c in configurations if not c[1] & bit]
        while frontier:
            state, taken = frontier.pop()
            for other in sorted(pending):
                if taken & 1 << other:
                    continue
                for after in outcomes(state, history[other]):
                    found = (after, taken | 1 << other)
                    if found in seen:
                        continue
                    seen.add(found)
                    if other == number:
                        done.add(found)
                    else:
                        frontier.append(found)
        pending.discard(number)
        configurations = {(state, taken & ~bit) for state, taken in done}
        if not configurations:
            return False
    return True


# -- the model -------------------------------------------------------------------------------------------------------


@dataclass
class VersionModel(Model):
    """Runs one history."""

    rules: Rules = field(default_factory=lambda: Rules(replica=VersionReplica))
    family: type[FamilyWrite] = FamilyWrite
    operations: int = 6
    suspended: bool = False  # mostly null versions, also under conditions
    anew: bool = False  # replicas make tombstones of versions once more, as one that is refilled does, and these are dropped

    def __post_init__(self) -> None:
        super().__post_init__()
        self.acts: list[Act] = []
        self.doing: dict[int, Act] = {}
        self.targets: dict[int, tuple[Any, str]] = {}  # id of a machine -> it, and the version that it reads or settles
        self.known: list[str] = [""]  # slots that clients have heard of
        self.values_seen: list[str] = [NOTHING]
        mixes = [[6, 0, 1, 1, 4, 3, 4, 0], [4, 3, 2, 2, 4, 3, 5, 1], [3, 1, 1, 4, 4, 3, 5, 2], [2, 5, 1, 1, 4, 4, 4, 0]]
        if self.suspended:
            mixes = [[1, 4, 0, 0, 4, 1, 4, 0, 3, 3], [0, 3, 0, 0, 3, 1, 3, 0, 1, 5], [3, 4, 0, 1, 4, 3, 5, 0, 3, 2]]
        self.weights = self.rng.choice(mixes)

    def history_of(self) -> list[Act]:
        for _ in range(self.clients):
            self.start_client(self.operations)
        for _ in range(self.rng.choice([0, 8, 30])):
            self.at(self.rng.randrange(3000), self.exchange)
        for _ in range(self.rng.choice([0, 6, 20])):
            self.at(self.rng.randrange(3000), self.reclaim_one)
        for _ in range(150 if self.anew else 0):
            self.at(self.rng.randrange(8000), self.rng.choice((self.make_anew, self.forget_one, self.reclaim_one)))
        self.play()
        self.shape.loss = self.shape.crash = 0.0
        for slot in [None, *dict.fromkeys(self.known)]:  # at rest
            client = Client(self.next_proxy, HybridClock(self.next_proxy), 0, epoch=0, left=0)
            self.next_proxy += 1
            self.at(1, self.look, client, slot)
            self.play()
        # An operation whose outcome is unknown, and that nobody knows a version of, need not be looked at unless it was proposed.
        return self.acts + [act for act in self.doing.values() if act.kind not in ("get", "getv", "tag")]

    def play(self) -> None:
        while self.events and self.now < 60_000:
            self.now, _, call, args = heapq.heappop(self.events)
            call(*args)

    def look(self, client: Client, slot: str | None) -> None:
        self.do(client, "get" if slot is None else "getv", slot or "")

    # -- clients -----------------------------------------------------------------------------------------------------

    def begin(self, client: Client) -> None:
        client.left -= 1
        kind = self.rng.choices(KINDS[: len(self.weights)], self.weights)[0]
        slot = self.rng.choice(self.known[-3:] if self.rng.random() < 0.7 else self.known)
        self.do(client, kind, slot)

    def do(self, client: Client, kind: str, slot: str) -> None:
        self.values += 1
        value = f"{kind}{self.values}"
        operation_id = self.values.to_bytes(16, "big")

        def issue(above: Ballot) -> Ballot:
            return client.clock.issue(max(0, 10**9 + self.now * 1000 + client.skew_us), above)

        modified_us = 10**9 + self.now * 1000 + self.values
        draft = Row(Kind.DELETE_MARKER if kind == "marker" else Kind.OBJECT, b"", ZERO, ZERO, modified_us, etag=value)
        versioned = new_version(draft, "Suspended" if "null" in kind else "Enabled")
        assert versioned.version == ("" if "null" in kind else NEW_VERSION)
        expected = self.rng.choice(self.values_seen[-2:]) if kind == "null if" else NOTHING

        def create(row: Row | None) -> Row:
            if row is not None and row.kind == Kind.OBJECT:
                raise PreconditionFailed
            return versioned

        def match(row: Row | None) -> Row:
            if row is None or row.kind != Kind.OBJECT or row.etag != expected:
                raise PreconditionFailed
            return versioned

        def remove(row: Row | None, versions: Versions) -> Row:
            if versions.get(slot) is None:
                raise NoSuchVersion
            return without_version(row, versions, slot)

        def tag(row: Row | None, versions: Versions) -> Row | None:
            found = versions.get(slot)
            if found is None or row is None:
                raise NoSuchVersion
            changed = replace_row(found, tags={"by": value}, effects=())
            if row is not None and is_version(row) and row.version == slot:
                return changed
            return replace_row(row, effects=(encode_row(changed),))

        match kind:
            case "put" | "null" | "marker":
                client.make = lambda quorum: self.rules.plain(quorum, versioned, operation_id, issue)
            case "create" | "create null":
                client.make = lambda quorum: self.rules.conditional(quorum, create, operation_id, issue)
            case "null if":
                client.make = lambda quorum: self.rules.conditional(quorum, match, operation_id, issue)
            case "get":
                client.make = lambda quorum: self.rules.read(quorum, issue)
            case "getv":
                client.make = lambda quorum: VersionRead(quorum, issue)
            case "remove":
                client.make = lambda quorum: self.family(quorum, remove, operation_id, issue)
            case "tag":
                client.make = lambda quorum: self.family(quorum, tag, operation_id, issue)
        age = (modified_us, "")
        self.doing[client.number] = Act(
            kind, self.tick(), slot=slot if kind in ("getv", "remove", "tag") else "", value=value, age=age, expected=expected
        )
        client.inside = client.epoch
        client.machine = machine = client.make(self.quorum(client.inside))
        if kind == "getv":
            self.targets[id(machine)] = (machine, slot)
        self.send_round(client)

    def end_of(self, client: Client) -> Act | None:
        """What a client was doing, with what is known of it now."""
        act = self.doing.pop(client.number, None)
        machine = client.machine
        if act is None or machine is None:
            return act
        if act.kind in ("put", "marker", "create"):
            if machine.first == ZERO:
                return replace(act, kind="none") if act.kind != "create" else act
            return replace(act, slot=machine.first.hex(), age=(wall_us_of(machine.first), machine.first.hex()))
        return act

    def crash(self, client: Client) -> None:
        act = self.end_of(client)
        if act is not None and act.kind not in ("get", "getv", "tag", "none"):
            self.acts.append(act)
        client.machine = None
        if client.left:
            self.start_client(client.left)

    def finish(self, client: Client, machine: Any) -> None:
        if machine.verdict is Verdict.UNSETTLED:
            slot = self.targets[id(machine)][1]
            clock = client.clock

            def issue(above: Ballot) -> Ballot:
                return clock.issue(max(0, 10**9 + self.now * 1000 + client.skew_us), above)

            client.machine = LookAtVersion(self.quorum(client.inside), slot, b"", issue)
            self.send_round(client)
            return
        act = self.end_of(client)
        client.machine = None
        if act is not None:
            self.note(act, machine)
        if client.left:
            self.at(self.rng.randrange(30), self.begin, client)

    def note(self, act: Act, machine: Any) -> None:
        verdict = machine.verdict
        if act.kind == "tag":
            return
        if verdict is Verdict.DONE:
            row = machine.found if isinstance(machine, LookAtVersion) else decode_row(machine.row) if machine.row else None
            result = row.etag if row is not None and is_version(row) else NOTHING
            self.acts.append(replace(act, end=self.tick(), result=result))
            if act.kind in WRITES:
                self.known.append(act.slot)
                self.values_seen.append(act.value)
            elif act.kind == "get" and row is not None and is_version(row):
                self.known.append(row.version)
        elif verdict is Verdict.REFUSED:
            self.acts.append(replace(act, end=self.tick(), ok=False))
        elif verdict in (Verdict.UNKNOWN, Verdict.CONFLICT) and act.kind not in ("get", "getv"):
            self.acts.append(act)

    # -- replicas ----------------------------------------------------------------------------------------------------

    def deliver(self, client: Client, machine: Any, round_: Round, device: int, epoch: int) -> None:
        replica: Any = self.replicas[device]
        target = self.targets[id(machine)][1] if id(machine) in self.targets else round_.version
        if round_.step is Step.NEWEST:
            rows = replica.newest(round_.version)
            self.send(self.feed_newest, client, machine, round_, device, rows)
        elif target is None:
            super().deliver(client, machine, round_, device, epoch)
        elif round_.step is Step.ACCEPT:
            verdict, highest, base = replica.accept_version(target, round_.ballot, round_.row)
            self.send(self.feed, client, machine, round_, "answered", (device, verdict, highest, base), True)
        else:
            register = replica.query_version(target)
            self.send(self.feed_register, client, machine, round_, device, register, True, True, replica.floor)

    def feed_newest(self, client: Client, machine: Any, round_: Round, device: int, rows: list[Row]) -> None:
        more = len([row for row in rows if row.version]) >= NEWEST_AT_ONCE
        if client.machine is machine and machine.round is round_ and machine.listed(device, rows, more=more):
            self.advance(client)

    # -- daemons -----------------------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Rows go from one replica to another, as the replicator has it; or something is settled."""
        one, other = self.rng.sample(sorted(self.replicas), 2)
        source: Any = self.replicas[one]
        to: Any = self.replicas[other]
        if self.rng.random() < 0.3 and source.register.row:
            to.merge(Register(ZERO, source.register.accepted, source.register.row))
        elif source.versions and self.rng.random() < 0.7:
            to.merge_version(self.rng.choice([source.versions[version] for version in sorted(source.versions)]))
        elif source.versions:
            self.settle_version(self.rng.choice(sorted(source.versions)))
        else:
            self.settle()

    def settle_version(self, version: str) -> None:
        client = self.daemon()
        client.make = lambda quorum: VersionSettlement(quorum, lambda above: client.clock.issue(10**9 + self.now * 1000, above))
        client.machine = machine = client.make(self.quorum(0))
        self.targets[id(machine)] = (machine, version)
        self.send_round(client)

    def settle(self) -> None:
        client = self.daemon()
        client.make = lambda quorum: Settlement(quorum, lambda above: client.clock.issue(10**9 + self.now * 1000, above))
        client.machine = client.make(self.quorum(0))
        self.send_round(client)

    def daemon(self) -> Any:
        client = Client(self.next_proxy, HybridClock(self.next_proxy), 0, epoch=0, left=0)
        self.next_proxy += 1
        return client

    def reclaim_one(self) -> None:
        """A tombstone of a version that all confirm; settled once, and then old enough that no message of before is on its way."""
        members = self.quorum(0).members
        first: Any = self.replicas[members[0]]
        dead = [v for v, kept in sorted(first.versions.items()) if kept.row.kind == Kind.TOMBSTONE]
        if not dead:
            return
        version = self.rng.choice(dead)
        kept = first.versions[version]
        if kept.accepted <= kept.row.origin or wall_us_of(kept.accepted) > 10**9 + (self.now - 1500) * 1000:
            if kept.accepted <= kept.row.origin:
                self.settle_version(version)
        elif wall_us_of(kept.accepted) - wall_us_of(kept.row.origin) < 1_500_000:
            self.settle_version(version)
        else:
            self.confirm_version(version, kept, 0)

    def confirm_version(self, version: str, kept: Kept, place: int) -> None:
        members = self.quorum(0).members
        replica: Any = self.replicas[members[place]]
        held = replica.versions.get(version)
        fine = held.accepted == kept.accepted and rank(held.row) == rank(kept.row) if held is not None else replica.floor >= kept.accepted
        if not fine or replica.above(version) is not None:
            return
        if place + 1 < len(members):
            self.at(1 + self.rng.randrange(4), self.confirm_version, version, kept, place + 1)
        else:
            for device in members:
                other: Any = self.replicas[device]
                self.at(1 + self.rng.randrange(10), other.reclaim_version, version, kept.accepted)

    def make_anew(self) -> None:
        """A replica takes over its own head as if from another, with no floor yet: tombstones that the head carries lie there again."""
        replica: Any = self.replicas[self.rng.choice(sorted(self.replicas))]
        head = decode_row(replica.register.row) if replica.register.row else None
        made = stored_with(None, replica.register.accepted, head, replica.versions.get, ZERO) if head is not None else None
        replica.versions.update({v: kept for v, kept in (made or {}).items() if kept.row.kind == Kind.TOMBSTONE})

    def forget_one(self) -> None:
        """Some tombstone goes as it is, if everybody lets it (daemons.compactor)."""
        replica: Any = self.replicas[self.rng.choice(sorted(self.replicas))]
        dead = [v for v, kept in sorted(replica.versions.items()) if kept.row.kind == Kind.TOMBSTONE]
        if dead:
            version = self.rng.choice(dead)
            self.let_go(version, replica.versions[version], 0)

    def let_go(self, version: str, kept: Kept, place: int) -> None:
        members = self.quorum(0).members
        replica: Any = self.replicas[members[place]]
        held, floor = replica.versions.get(version), replica.floor
        fenced = floor >= kept.accepted and wall_us_of(floor) - wall_us_of(kept.row.origin) >= 1_500_000
        if (held is not None and rank(held.row) != rank(kept.row)) or replica.above(version) is not None or not fenced:
            return
        if place + 1 < len(members):
            self.at(1 + self.rng.randrange(4), self.let_go, version, kept, place + 1)
        else:
            for device in members:
                other: Any = self.replicas[device]
                self.at(1 + self.rng.randrange(10), other.reclaim_version, version, kept.accepted)


def replace_row(row: Row, **fields: Any) -> Row:
    return msgspec.structs.replace(row, **fields)


def version_history_holds(seed: int, **more: Any) -> bool:
    """Whether the history of a seed is that of a key with versions."""
    return explains(VersionModel(seed, rings="three", **more).history_of())
