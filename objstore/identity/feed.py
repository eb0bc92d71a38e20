"""Tables of records that many processes hold in memory and keep up with within a second.

As identity/directory.py does it: whoever changes a record appends its name to a journal, which everybody reads twice a second;
everything is read again when more was missed than the journal holds, and once a minute.  Lines of the journal that wait for one
write leave in the next together, so that a burst of changes costs a few writes of it.  Below the records lie values that are
there without any; a record of the same name hides them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.errors import ConditionalConflict, ObjstoreError, PreconditionFailed
from objstore.identity.tenancy import RECORD_VERSION, Kept
from objstore.records.store import Records
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner

log = logging.getLogger(__name__)

JOURNAL = "head"
JOURNAL_NAMES = 512
POLL_S = 0.5
RELOAD_S = 60.0
REFRESH_S = 0.05
DELETE_ATTEMPTS = 32


class Journal(msgspec.Struct, frozen=True, array_like=True):
    """How often anything was changed, and what the last changes were, newest last."""

    record_version: int
    count: int
    recent: tuple[str, ...] = ()


@dataclass
class Table:
    """Records of one kind, what is held of them, and what lies below."""

    records: Records[Kept]
    below: dict[str, Kept] = field(default_factory=dict)
    held: dict[str, Kept] = field(default_factory=dict)


Change = tuple[str, str, Kept | None]  # kind, record, the value that holds now


class Feed:
    """The tables.  `on_change` is told of every difference, before whoever caused it hears that it is done."""

    def __init__(
        self, cluster: ClusterApi, clock: Clock, kinds: Mapping[str, type[Kept]], on_change: Callable[[list[Change]], None], *, prefix: str
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self.tables = {kind: Table(Records(cluster, f"{prefix}-{kind}", struct)) for kind, struct in kinds.items()}
        self._journal = Records(cluster, f"{prefix}-journal", Journal)
        self._count = -1
        self._loaded_at = -RELOAD_S
        self._looked_at = -REFRESH_S
        self._tasks = TaskOwner("identity feed")
        self._turn = asyncio.Lock()  # one reader at a time: an older answer must not overtake a newer one
        self._writing = asyncio.Lock()
        self._waiting: list[str] = []  # lines for the journal
        self._begun = 0  # looks
        self._seen = 0  # the last of them that could be made
        self._asked = 0
        self._written = 0
        self._failing = False

    def lay_below(self, values: Iterable[tuple[str, Kept]]) -> None:
        """Put values under the records; before the start."""
        changes: list[Change] = []
        for kind, value in values:
            self.tables[kind].below[value.record] = value
            changes.append((kind, value.record, value))
        self._on_change(changes)

    async def start(self) -> None:
        """Begin to keep up, in the background."""
        self._tasks.spawn(self._keep_up(), name="identity feed")

    async def aclose(self) -> None:
        """Stop keeping up."""
        await self._tasks.aclose()

    async def _keep_up(self) -> None:
        while True:
            try:
                await self.catch_up()
                self._failing = False
            except Exception as failure:  # whatever it was: without this loop what is revoked stays good here
                if not self._failing:  # said once, not twice a second
                    expected = isinstance(failure, ObjstoreError)
                    message = "records of the identity service cannot be read, those known stay: %r"
                    log.warning(message, failure, exc_info=None if expected else failure)
                self._failing = True
            await self._clock.sleep(POLL_S)

    async def catch_up(self) -> None:
        """See everything that was acknowledged before, by one look for all who ask while another is under way.  Raises Unavailable."""
        begun = self._begun
        async with self._turn:
            if self._seen <= begun:  # else one that began after this call has seen it
                await self._look()

    async def _look(self) -> None:
        self._begun += 1
        await self._read_news()
        self._seen = self._begun  # looks are made one by one

    async def _read_news(self) -> None:
        self._looked_at = self._clock.monotonic()
        entry = await self._journal.get(JOURNAL)
        journal = entry.value if entry is not None else Journal(RECORD_VERSION, 0)
        missed = journal.count - self._count
        stale = self._clock.monotonic() - self._loaded_at >= RELOAD_S
        if missed == 0 and not stale:
            return
        if self._count < 0 or stale or not 0 <= missed <= len(journal.recent):
            await self._read_all()
        else:
            for name in dict.fromkeys(journal.recent[len(journal.recent) - missed :]):
                await self._read(name)
        self._count = max(self._count, journal.count)

    async def refresh(self) -> None:
        """See everything that was acknowledged before this call, with one look for all who ask at once, and never two within REFRESH_S.

        Nothing is raised.
        """
        asked = self._clock.monotonic()
        try:
            await self._clock.sleep(max(0.0, self._looked_at + REFRESH_S - asked))
            async with self._turn:
                if self._looked_at <= asked:  # a look that began before may have missed what is asked for
                    await self._look()
        except ObjstoreError as failure:
            log.warning("records of the identity service cannot be read now: %s", failure)

    async def _read_all(self) -> None:
        started = self._clock.monotonic()
        changes: list[Change] = []
        for kind, table in self.tables.items():
            found = {entry.name: entry.value for entry in await table.records.list()}
            changed = [record for record in {**table.held, **found} if table.held.get(record) != found.get(record)]
            changes += [(kind, record, found.get(record) or table.below.get(record)) for record in changed]
            table.held = found
        self._loaded_at = started
        if changes:
            self._on_change(changes)

    async def _read(self, name: str) -> None:
        kind, _, record = name.partition(":")
        table = self.tables.get(kind)
        if table is None:
            return  # another version of this program has a kind more
        entry = await table.records.get(record)
        before = table.held.get(record)
        if entry is None:
            table.held.pop(record, None)
        else:
            table.held[record] = entry.value
        after = table.held.get(record)
        if before != after:
            self._on_change([(kind, record, after or table.below.get(record))])

    async def announce(self, kind: str, record: str) -> None:
        """Tell everybody that a record may be another one now.  Raises Unavailable."""
        name = f"{kind}:{record}"
        self._waiting.append(name)
        self._asked += 1
        ticket = self._asked
        async with self._writing:
            if self._written < ticket:
                names, last = tuple(self._waiting), self._asked
                del self._waiting[: len(names)]
                try:
                    await self._journal.change(JOURNAL, lambda journal: _noted(journal, names), Journal(RECORD_VERSION, 0))
                except BaseException:
                    self._waiting[:0] = names  # they go with the next
                    raise
                self._written = last
        async with self._turn:
            await self._read(name)

    # -- changes ----------------------------------------------------------------------------------------------

    async def create(self, kind: str, value: Kept) -> None:
        """Write a record where there is none.  Raises PreconditionFailed when there is one, or a value below; ConditionalConflict."""
        table = self.tables[kind]
        if value.record in table.below:
            raise PreconditionFailed(f"{value.record!r} is there from the start", condition="version")
        try:
            await table.records.put_if(value.record, value, None)
        except ConditionalConflict:
            entry = await table.records.get(value.record)
            if entry is None or entry.value != value:
                raise
        await self.announce(kind, value.record)

    async def stored(self, kind: str, record: str) -> Kept | None:
        """A record as it is at this moment, or what is there from the start."""
        table = self.tables[kind]
        entry = await table.records.get(record)
        return table.below.get(record) if entry is None else entry.value

    async def replace_stale(self, kind: str, value: Kept, is_stale: Callable[[Kept], bool]) -> bool:
        """Write over a record that its owner left when it got another name; False when there is none such."""
        table = self.tables[kind]
        entry = await table.records.get(value.record)
        if entry is None or not is_stale(entry.value):
            return False
        await table.records.put_if(value.record, value, entry.version)
        await self.announce(kind, value.record)
        return True

    async def change(self, kind: str, record: str, edit: Callable[[Kept], Kept], default: Kept | None = None) -> Kept:
        """Change a record; one that is there from the start gets a record above it.  `edit` may be called more than once.

        Raises PreconditionFailed when there is none, ConditionalConflict.
        """
        table = self.tables[kind]
        changed = await table.records.change(record, edit, default or table.below.get(record))
        await self.announce(kind, record)
        return changed

    async def delete(self, kind: str, record: str, check: Callable[[Kept], bool] | None = None) -> bool:
        """Remove a record that `check` lets go; False when there is none.  Raises ConditionalConflict, and what `check` raises."""
        table = self.tables[kind]
        unknown = False  # whether it went may be our doing
        for _ in range(DELETE_ATTEMPTS):
            entry = await table.records.get(record)
            if entry is None:
                if unknown or record in table.held:  # whoever removed it may not have been able to say so
                    await self.announce(kind, record)
                return unknown
            if check is not None and not check(entry.value):
                return False
            try:
                await table.records.delete_if(record, entry.version)
            except ConditionalConflict:
                unknown = True
                continue
            except PreconditionFailed:
                continue
            await self.announce(kind, record)
            return True
        raise ConditionalConflict("others kept changing what was to be deleted; try again")


def _noted(journal: Journal, names: tuple[str, ...]) -> Journal:
    return Journal(RECORD_VERSION, journal.count + len(names), (*journal.recent, *names)[-JOURNAL_NAMES:])
