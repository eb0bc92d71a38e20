"""A random-schedule model of one register: real proposer and replica decisions, a lying network, crashes, skewed clocks.

One seed is one history: clients run operations on one key through the machines of `core/agreement.py`; messages are lost,
doubled, reordered and held back for long; clients die in mid-operation; clocks are off by minutes; the ring may change from
one set of devices over a joint set to another while new devices catch up.  The history goes to the linearizability checker.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from objstore.core.agreement import ConditionalWrite, PlainWrite
from objstore.core.machine import Round, Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision, Settlement
from objstore.core.replica import decide_accept, decide_prepare
from objstore.core.rows import EMPTY, Kind, Register, Row, decode_row
from objstore.core.timestamp import ZERO, Ballot, HybridClock
from objstore.errors import PreconditionFailed
from tests.support.linearizability import NOTHING, Operation, linearizable

Machine = PlainWrite | ConditionalWrite | ReadDecision
ROUND_TIMEOUT = 80
LAST_MOMENT = 20_000  # a broken variant may go on for ever
MEAN_DELAY = 10


class Replica:
    """One device's side, as the engine has it."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.register = EMPTY
        self.epoch = 0
        self.voting = True
        self.floor = ZERO

    def prepare(self, ballot: Ballot) -> bool:
        granted, self.register = decide_prepare(self.register, ballot)
        return granted

    def accept(self, ballot: Ballot, row: bytes) -> tuple[str, Ballot, Ballot]:
        verdict, self.register = decide_accept(self.register, ballot, row)
        base = self.base_of(self.register.row) if verdict == "superseded" else ZERO
        return verdict, self.register.highest, base

    def reclaim(self, ballot: Ballot) -> None:
        """Forget a tombstone that every primary has confirmed; nothing at or below its ballot comes in again."""
        if self.register.accepted == ballot and self.register.promised <= ballot:
            self.floor = max(self.floor, ballot)
            self.register = Register(promised=self.floor)

    def base_of(self, row: bytes) -> Ballot:
        return decode_row(row).base

    def merge(self, other: Register) -> bool:
        """The row under the accept rule, then the promise.  False when a promise keeps the row out."""
        if other.row and other.accepted > self.register.accepted:
            self.accept(other.accepted, other.row)
        held = self.register
        self.register = Register(max(held.promised, other.promised), held.accepted, held.row)
        return held.accepted >= other.accepted


@dataclass(frozen=True)
class Rules:
    """What is under test: the shipped machines, or a broken variant that the checker must catch."""

    plain: Callable[..., PlainWrite] = PlainWrite
    conditional: Callable[..., ConditionalWrite] = ConditionalWrite
    read: Callable[..., ReadDecision] = ReadDecision
    quorum: Callable[[Sequence[Sequence[int]]], Quorum] = Quorum
    replica: Callable[[int], Replica] = Replica
    fresh_on_restart: bool = False  # a new machine when the ring changed, in place of machine.restart
    reclaim: bool = True  # tombstones go as soon as all primaries hold them, however young they are
    floors: bool = True  # devices tell up to where they have forgotten tombstones
    send_home: bool = True  # copies on handoffs reach primaries at any later time, in whatever epoch


@dataclass
class Client:
    number: int
    clock: HybridClock
    skew_us: int
    epoch: int  # the newest heard of
    left: int
    inside: int = 0  # the epoch of the operation in hand
    machine: Machine | None = None
    make: Callable[[Quorum], Machine] | None = None
    last_seen: str = NOTHING
    sent: Round | None = None


@dataclass
class Shape:
    """One history's circumstances, drawn from its seed."""

    rings: list[list[tuple[int, ...]]]  # per epoch: one or two sets
    loss: float
    double: float
    late: float
    crash: float
    skew_us: int
    weights: list[int]


KINDS = ["put", "delete", "get", "create", "match"]


THREE = (1, 2, 3)
LAYOUTS: dict[str, list[list[tuple[int, ...]]]] = {
    "three": [[THREE]],
    "one": [[(1,)]],
    "two": [[(1, 2)]],
    "joint": [[THREE, (1, 2, 4)]],
    "far": [[THREE, (4, 5, 6)]],
    "move": [[THREE], [THREE, (1, 2, 4)], [(1, 2, 4)]],
    "flee": [[THREE], [THREE, (4, 5, 6)], [(4, 5, 6)]],
    "half": [[THREE], [THREE, (1, 4, 5)], [(1, 4, 5)]],
}  # per epoch one or two sets


def draw_shape(rng: random.Random, *, rings: str | None = None) -> Shape:
    kind = rings or rng.choices(list(LAYOUTS), [10, 1, 1, 2, 2, 2, 3, 2])[0]
    return Shape(
        rings=LAYOUTS[kind],
        loss=rng.choice([0.0, 0.05, 0.15]),
        double=rng.choice([0.0, 0.1]),
        late=rng.choice([0.02, 0.1, 0.2]),
        crash=rng.choice([0.0, 0.02, 0.05]),
        skew_us=rng.choice([0, 20_000, 100_000_000]),
        weights=rng.choice([[4, 1, 4, 2, 2], [1, 1, 4, 4, 4], [6, 1, 6, 0, 0], [2, 4, 4, 4, 0]]),
    )


@dataclass
class Model:
    """Runs one history."""

    seed: int
    rules: Rules = field(default_factory=Rules)
    rings: str | None = None
    clients: int = 4
    operations: int = 7

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.shape = draw_shape(self.rng, rings=self.rings)
        self.now = 0
        self.serial = 0
        self.events: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self.history: list[Operation] = []
        self.open: dict[int, Operation] = {}  # client -> what it has begun
        self.values = 0
        self.next_proxy = 1
        self.published = 0  # highest epoch that exists
        devices = sorted({d for ring in self.shape.rings for devices in ring for d in devices})
        self.replicas = {device: self.rules.replica(device) for device in devices}
        for device in devices:
            self.replicas[device].voting = device in self.shape.rings[0][0]

    # -- schedule -----------------------------------------------------------------------------------------

    def at(self, delay: int, call: Callable[..., None], *args: object) -> None:
        self.serial += 1
        heapq.heappush(self.events, (self.now + delay, self.serial, call, args))

    def delay(self) -> int:
        scale = MEAN_DELAY * 25 if self.rng.random() < self.shape.late else MEAN_DELAY
        return 1 + int(self.rng.expovariate(1 / scale))

    def send(self, call: Callable[..., None], *args: object) -> None:
        rng = self.rng
        if rng.random() < self.shape.loss:
            return
        self.at(self.delay(), call, *args)
        if rng.random() < self.shape.double:
            self.at(self.delay(), call, *args)

    def run(self) -> list[Operation]:
        for _ in range(self.clients):
            self.start_client(self.operations)
        if self.rules.reclaim and len(self.shape.rings) == 1:
            for _ in range(12):
                self.at(self.rng.randrange(2000), self.reclaim)
        if len(self.shape.rings) > 1:
            self.at(1 + self.rng.randrange(300), self.publish, 1)
        while self.events and self.now < LAST_MOMENT:
            self.now, _, call, args = heapq.heappop(self.events)
            call(*args)
        return self.history + [operation for operation in self.open.values() if operation.kind != "get"]

    # -- clients ------------------------------------------------------------------------------------------

    def start_client(self, left: int) -> None:
        skew = self.rng.randint(-self.shape.skew_us, self.shape.skew_us)
        client = Client(self.next_proxy, HybridClock(self.next_proxy), skew, epoch=self.published, left=left)
        self.next_proxy += 1
        self.at(self.rng.randrange(40), self.begin, client)

    def begin(self, client: Client) -> None:
        rng = self.rng
        client.left -= 1
        kind = rng.choices(KINDS, self.shape.weights)[0]
        self.values += 1
        value = f"v{self.values}"
        operation_id = self.values.to_bytes(16, "big")
        expected = client.last_seen
        if kind == "match" and expected == NOTHING:
            kind = "get"
        tombstone = kind == "delete"
        draft = Row(Kind.TOMBSTONE if tombstone else Kind.OBJECT, b"", ZERO, ZERO, 0, etag=NOTHING if tombstone else value)

        def issue(above: Ballot) -> Ballot:
            return client.clock.issue(max(0, 10**9 + self.now * 1000 + client.skew_us), above)

        def judge(row: Row | None) -> Row:
            there = row.etag if row is not None else NOTHING
            if there != (NOTHING if kind == "create" else expected):
                raise PreconditionFailed
            return draft

        if kind in ("put", "delete"):
            client.make = lambda quorum: self.rules.plain(quorum, draft, operation_id, issue)
        elif kind == "get":
            client.make = lambda quorum: self.rules.read(quorum, issue)
        else:
            client.make = lambda quorum: self.rules.conditional(quorum, judge, operation_id, issue)
        writes = kind in ("put", "create", "match")
        self.open[client.number] = Operation(
            kind, self.tick(), None, value=value if writes else NOTHING, expected=expected if kind == "match" else NOTHING
        )
        client.inside = client.epoch
        client.machine = client.make(self.quorum(client.inside))
        self.send_round(client)

    def tick(self) -> int:
        """A strictly rising time for the history, so that events at one moment keep their order."""
        self.serial += 1
        return self.serial

    def quorum(self, epoch: int) -> Quorum:
        return self.rules.quorum(self.shape.rings[epoch])

    def send_round(self, client: Client) -> None:
        machine = client.machine
        assert machine is not None
        round_ = client.sent = machine.round
        to = list(round_.to)
        self.rng.shuffle(to)
        for place, device in enumerate(to):
            hedge = 30 if round_.step is Step.QUERY and place >= 2 and self.rng.random() < 0.7 else 0
            self.at(hedge, self.transmit, client, machine, round_, device, client.inside)
        about_the_head = round_.own and round_.version is None
        if self.rules.send_home and round_.step is Step.ACCEPT and about_the_head and self.rng.random() < 0.2:
            self.at(self.delay() * 10, self.hand_off, round_.row, round_.ballot)
        self.at(ROUND_TIMEOUT + self.rng.randrange(60), self.expire, client, machine, round_)

    def transmit(self, client: Client, machine: Machine, round_: Round, device: int, epoch: int) -> None:
        if client.machine is machine:
            self.send(self.deliver, client, machine, round_, device, epoch)

    def expire(self, client: Client, machine: Machine, round_: Round) -> None:
        if client.machine is machine and machine.round is round_ and machine.expire():
            self.advance(client)

    def advance(self, client: Client) -> None:
        machine = client.machine
        assert machine is not None
        if machine.verdict is Verdict.PENDING:
            if self.rng.random() < self.shape.crash:
                return self.crash(client)
            backoff = self.rng.randrange(60) if machine.round.step is Step.PREPARE else 0
            return self.at(backoff, self.later_round, client, machine, machine.round)
        return self.finish(client, machine)

    def later_round(self, client: Client, machine: Machine, round_: Round) -> None:
        if client.machine is machine and machine.round is round_ and client.sent is not round_:
            self.send_round(client)

    def crash(self, client: Client) -> None:
        operation = self.open.pop(client.number, None)
        if operation is not None and operation.kind != "get":
            self.history.append(operation)
        client.machine = None
        if client.left:
            self.start_client(client.left)

    def finish(self, client: Client, machine: Machine) -> None:
        operation = self.open.pop(client.number, None)
        client.machine = None
        if operation is None:
            return  # a daemon's read
        verdict = machine.verdict
        row = decode_row(machine.row) if machine.row else None
        if verdict is Verdict.DONE:
            result = row.etag if row is not None and operation.kind == "get" else NOTHING
            self.history.append(replace(operation, end=self.tick(), result=result))
            client.last_seen = result if operation.kind == "get" else operation.value
        elif verdict is Verdict.REFUSED:
            self.history.append(replace(operation, end=self.tick(), ok=False))
        elif verdict in (Verdict.UNKNOWN, Verdict.CONFLICT):
            self.history.append(operation)
        if client.left:
            self.at(self.rng.randrange(30), self.begin, client)

    # -- replicas -----------------------------------------------------------------------------------------

    def deliver(self, client: Client, machine: Machine, round_: Round, device: int, epoch: int) -> None:
        replica = self.replicas[device]
        if epoch < replica.epoch:
            return self.send(self.stale, client, machine, round_, replica.epoch)
        self.adopt(replica, epoch)
        voting = replica.voting
        if round_.step is Step.ACCEPT:
            verdict, highest, base = replica.accept(round_.ballot, round_.row)
            return self.send(self.feed, client, machine, round_, "answered", (device, verdict, highest, base), voting)
        granted = replica.prepare(round_.ballot) if round_.step is Step.PREPARE else True
        return self.send(self.feed_register, client, machine, round_, device, replica.register, granted, voting, replica.floor)

    def feed(self, client: Client, machine: Machine, round_: Round, _: str, answer: tuple[int, str, Ballot, Ballot], voting: bool) -> None:
        if client.machine is machine and machine.round is round_ and machine.answered(*answer, voting=voting):
            self.advance(client)

    def feed_register(
        self, client: Client, machine: Machine, round_: Round, device: int, register: Register, granted: bool, voting: bool, floor: Ballot
    ) -> None:
        if client.machine is not machine or machine.round is not round_:
            return
        if machine.registered(device, register, granted=granted, voting=voting, floor=floor if self.rules.floors else ZERO):
            self.advance(client)

    def stale(self, client: Client, machine: Machine, round_: Round, epoch: int) -> None:
        client.epoch = max(client.epoch, epoch)
        if client.machine is not machine or client.inside == client.epoch:
            return
        client.inside = client.epoch
        if self.rules.fresh_on_restart:
            assert client.make is not None
            client.machine = client.make(self.quorum(client.inside))
        else:
            machine.restart(self.quorum(client.inside))
        self.send_round(client)

    def reclaim(self) -> None:
        """A daemon asks all primaries for a tombstone, and then lets all of them drop it."""
        members = self.quorum(0).members
        asked = self.replicas[members[0]].register
        if asked.row and decode_row(asked.row).kind == Kind.TOMBSTONE:
            self.confirm(asked.accepted, members, 0)

    def confirm(self, ballot: Ballot, members: tuple[int, ...], place: int) -> None:
        register = self.replicas[members[place]].register
        if register.accepted == ballot and register.promised <= ballot:
            if place + 1 < len(members):
                self.at(1 + self.rng.randrange(4), self.confirm, ballot, members, place + 1)
            else:
                for device in members:
                    self.at(1 + self.rng.randrange(10), self.replicas[device].reclaim, ballot)

    # -- ring change --------------------------------------------------------------------------------------

    def adopt(self, replica: Replica, epoch: int) -> None:
        if epoch > replica.epoch:
            replica.epoch = epoch

    def publish(self, epoch: int) -> None:
        """Someone learns of a new ring; the others hear of it by and by, some only from a message."""
        self.published = epoch
        for device in self.replicas:
            if self.rng.random() < 0.7:
                self.at(self.delay() * 3, self.tell, device, epoch)
        self.tell(self.rng.choice(list(self.shape.rings[epoch][-1])), epoch)
        if len(self.shape.rings[epoch]) == 2:
            new = [d for d in self.shape.rings[epoch][1] if not self.replicas[d].voting]
            for device in new:
                self.at(self.delay(), self.catch_up, device, epoch, {})

    def tell(self, device: int, epoch: int) -> None:
        self.adopt(self.replicas[device], epoch)

    def catch_up(self, device: int, epoch: int, fetched: dict[int, Register]) -> None:
        """Fetch from a quorum of the previous set, each of which has seen the epoch; then take it all over."""
        replica = self.replicas[device]
        if replica.voting:
            return
        old, new = self.shape.rings[epoch]
        source = self.rng.choice(old)
        self.adopt(self.replicas[source], epoch)
        fetched[source] = self.replicas[source].register
        if len(fetched) > len(old) // 2:
            if take_over(replica, list(fetched.values())):
                replica.voting = True
                if all(self.replicas[d].voting for d in new):
                    self.at(self.delay(), self.publish, epoch + 1)
                return
            self.settle()
            fetched = {}
        self.at(self.delay() * 2, self.catch_up, device, epoch, fetched)

    def hand_off(self, row: bytes, ballot: Ballot) -> None:
        """A copy on a handoff is sent home: a late accept that knows no epoch."""
        members = self.shape.rings[self.published][-1]
        self.replicas[self.rng.choice(members)].merge(Register(ZERO, ballot, row))

    def settle(self) -> None:
        """A daemon brings all members to one row."""
        clock = HybridClock(self.next_proxy)
        client = Client(self.next_proxy, clock, 0, epoch=self.published, left=0)
        self.next_proxy += 1
        client.make = lambda quorum: Settlement(quorum, lambda above: clock.issue(10**9 + self.now * 1000, above))
        client.inside = client.epoch
        client.machine = client.make(self.quorum(client.inside))
        self.send_round(client)


def take_over(replica: Replica, registers: list[Register], *, promises: bool = True) -> bool:
    """What a read quorum holds: promises first, then rows.  False when a promise keeps a row out: it must be settled."""
    for register in registers if promises else ():
        replica.merge(Register(promised=register.promised))
    return min([replica.merge(Register(ZERO, register.accepted, register.row)) for register in registers])


def holds(seed: int, rules: Rules | None = None, *, rings: str | None = None) -> bool:
    """Whether the history of a seed is linearizable."""
    return linearizable(Model(seed, rules or Rules(), rings=rings).run())
