"""One volume as a block device: reads, writes and flushes on one side, chunks, map and head in the store on the other.

A write changes the chunk in memory and appends to the journal.  A flush waits for the journal (or, as the settings say, for the
store).  In the background the changed chunks of one moment are uploaded, then the changed map nodes, then the head is swapped: the store always
holds the volume as it was at one moment.  Whoever attaches the volume elsewhere changes the head's epoch; from then on no
swap of this process succeeds, and everything it is asked fails with `Fenced`.

`read_now`, `write_now` and `zero_now` do at once what needs no waiting, and say so when it does; NBD lives on them.
"""

import asyncio
import logging

import msgspec

from objstore.errors import ConditionalConflict, Damaged, InvalidArgument, NoSuchKey, ObjstoreError, PreconditionFailed, Unavailable
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.cache import Buffer, ChunkCache
from objstore.services.volume.chunk_map import ChunkMap, Place
from objstore.services.volume.journal import Journal, Unkept
from objstore.services.volume.journal_format import WRITE, ZEROES, Record
from objstore.services.volume.layout import Ref, Tree, check_shape, levels_for, ref_of
from objstore.services.volume.objects import Swapped, VolumeObjects
from objstore.services.volume.parallel import each
from objstore.services.volume.settings import VolumeSettings

log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_LIMIT_S = 0.1, 5.0
GATHERED_LIMIT_BYTES = 32 * 1024 * 1024  # of journal records that the disk has not taken yet
FETCHES = 16  # chunks of one long read on their way at once
LET_GO_ATTEMPTS = 16  # each but the last met another's change of the head
READ_AHEAD_RUN = 2  # reads in a row, each where the one before ended, that make a stream


class Fenced(Unavailable):
    """The volume was attached by another process: this one may neither read nor write it any more."""


class ReadOnly(PreconditionFailed):
    """This volume, or this view of it, cannot be written to."""


class Device:
    """A volume that is attached, or with `journal` None a tree that is only read."""

    def __init__(
        self, objects: VolumeObjects, clock: Clock, at: Swapped, settings: VolumeSettings, *, journal: Journal | Unkept | None, tree: Tree | None = None
    ) -> None:  # fmt: skip
        self.at = at
        self.chunk_bytes = at.head.chunk_bytes
        self._tree = tree or at.head.tree
        self.size_bytes = self._tree.size_bytes
        self.journal = journal
        self.read_only = journal is None
        self.failure: ObjstoreError | None = None
        self.commits = self.fetches = 0
        self._objects = objects
        self._clock = clock
        self._settings = settings
        self._map = ChunkMap(self._tree)
        self._map.grow(max(self._tree.levels, levels_for(self.size_bytes, self.chunk_bytes)))
        self._cache = ChunkCache(self.chunk_bytes, settings.clean_bytes)
        self._tasks = TaskOwner("volume")
        self._fetching: dict[int, asyncio.Task[None]] = {}
        self._committing = asyncio.Lock()
        self._committed = at.head.position
        self._holder = at.head.holder
        self._held = True  # False: the head may say that nobody holds the volume, so that anybody may attach it
        self._hurry = asyncio.Event()
        self._room = asyncio.Condition()
        self._number = 0
        self._stream = (0, 0)  # where the last read ended, how many there were in a row

    def replay(self, record: Record) -> None:
        """Take in a record of the journal, which has it, before `start`; call `prepare` for its range first."""
        if record.kind == WRITE:
            self._change(record.offset, record.payload)
        else:
            self._zero(record.offset, record.length)

    def start(self) -> None:
        """Commit in the background from now on."""
        if not self.read_only:
            self._tasks.spawn(self._commit_for_ever(), name="commit")
            self._tasks.spawn(self._watch(), name="watch")

    # -- what needs no waiting --------------------------------------------------------------------------------

    def read_now(self, offset: int, length: int) -> list[memoryview] | None:
        """The bytes, if they are all in memory.  They are of this moment only until the loop's next turn.  Raises Fenced."""
        if self.failure is not None:
            raise self.failure
        self._expect_more(offset, length)
        views = []
        for index, start, stop in self._cache.pieces(offset, length):
            view = self._cache.view(index, start, stop)
            if view is None:
                if not self._is_blank(index):
                    return None
                view = self._cache.zeros_view(start, stop)
            views.append(view)
        return views

    def is_hole(self, view: memoryview) -> bool:
        """Whether these bytes, which `read_now` or `read` gave, are zeros that take no room."""
        return view.obj is self._cache.zeros

    def write_now(self, offset: int, data: memoryview) -> bool:
        """Write, if there is room and all that it takes is known.  Raises Fenced, ReadOnly, JournalFailed."""
        if not self._may_write():
            return False
        if not self._is_known(offset, len(data)):
            return False
        assert self.journal is not None
        payload = bytes(data)
        self.journal.append(WRITE, offset, len(data), payload)
        self._change(offset, payload)
        return True

    def zero_now(self, offset: int, length: int) -> bool:
        """Make a range zeros; as `write_now`."""
        if not self._may_write() or not self._is_known(offset, length):
            return False
        assert self.journal is not None
        self.journal.append(ZEROES, offset, length)
        self._zero(offset, length)
        return True

    # -- what may wait ----------------------------------------------------------------------------------------

    async def read(self, offset: int, length: int) -> list[memoryview]:
        """The bytes.  Raises Fenced, Unavailable, Damaged."""
        pieces = list(self._cache.pieces(offset, length))
        views = []
        for position, (index, start, stop) in enumerate(pieces):
            while (view := self._cache.view(index, start, stop)) is None:
                await self._learn_of(index)
                if self._is_blank(index):
                    view = self._cache.zeros_view(start, stop)
                    break
                for ahead, _, _ in pieces[position + 1 : position + FETCHES]:
                    self._fetch_early(ahead)
                await self._fetch(index)
            views.append(view)
        if self.failure is not None:
            raise self.failure
        return views

    async def write(self, offset: int, data: memoryview) -> None:
        """Write; durable after the next `flush`.  Raises Fenced, ReadOnly, JournalFailed."""
        while not self.write_now(offset, data):
            await self._make_ready(offset, len(data))

    async def zero(self, offset: int, length: int) -> None:
        """Make a range zeros."""
        while not self.zero_now(offset, length):
            await self._make_ready(offset, length)

    def hand_over(self) -> bool:
        """Have what was written survive the end of this process, as an answered write must; False: wait for `handed`.  Raises JournalFailed."""
        assert self.journal is not None
        return self.journal.spill()

    async def handed(self) -> None:
        """The same, in its time."""
        assert self.journal is not None
        await self.journal.handed()

    async def flush(self) -> None:
        """Returns when every write that was answered before is durable.  Raises Fenced, JournalFailed."""
        if self.read_only:
            return
        assert self.journal is not None
        if self._settings.durability == "store":
            await self.commit()
        else:
            await self.journal.flush()
        while self.failure is None and not self._held:
            await self.commit()  # what is in the journal alone would be lost if somebody attached the volume now
        if self.failure is not None:
            raise self.failure

    async def cache(self, offset: int, length: int) -> None:
        """Fetch a range, so that reading it needs no waiting; no more of it than there is room for."""
        for index, _, _ in self._cache.pieces(offset, min(length, self._settings.clean_bytes // 2)):
            await self._learn_of(index)
            if self._cache.get(index) is None and self._map.find(index) is not None:
                await self._fetch(index)

    async def spans(self, offset: int, length: int) -> list[tuple[int, bool]]:
        """(bytes, whether they are zeros that take no room) of a range, in order."""
        await self._learn(offset, length)
        found: list[tuple[int, bool]] = []
        for index, start, stop in self._cache.pieces(offset, length):
            zero = self._cache.is_zero(index)
            if zero is None:
                zero = self._map.find(index) is None
            if found and found[-1][1] == zero:
                found[-1] = (found[-1][0] + stop - start, zero)
            else:
                found.append((stop - start, zero))
        return found

    # -- commit -----------------------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Returns when every write made before is in the store.  Raises Fenced; waits while the store cannot be reached."""
        assert self.journal is not None
        # A caller that is cancelled must not let go of the lock while the commit runs on.
        await asyncio.shield(self._tasks.spawn(self._commit_up_to(self.journal.position), name="commit of a volume"))

    async def _commit_up_to(self, target: int) -> None:
        async with self._committing:
            if self.failure is not None:
                raise self.failure
            if self._committed < target or not self._held:
                await self._commit()

    async def resize(self, size_bytes: int) -> None:
        """Make the volume longer; the head says so when it returns."""
        await asyncio.shield(self._tasks.spawn(self._resize(size_bytes), name="resize of a volume"))

    async def let_go(self) -> None:
        """Returns when everything is in the store and the head says that nobody holds the volume; nothing can be asked of this any more.

        Raises Fenced; Unavailable or ConditionalConflict, and then it is held on.  Until the head is known to say so, no flush is answered.
        """
        assert self.journal is not None
        while True:
            await self.commit()
            async with self._committing:
                if self._committed == self.journal.position:
                    await self._give_back()
                    return

    async def aclose(self) -> None:
        """Stop; nothing is committed and nothing flushed."""
        await self._tasks.aclose()
        if self.failure is None:
            self.failure = Fenced(f"volume {self.at.head.volume.hex()} is not served here any more")
        async with self._room:
            self._room.notify_all()  # who waits for room hears of it
        if self.journal is not None:
            await self.journal.aclose()

    async def _give_back(self) -> None:
        self._held = False  # whatever becomes of the swaps: one whose answer is lost may take effect later
        try:
            for _ in range(LET_GO_ATTEMPTS):
                try:
                    self.at = await self._objects.swap(msgspec.structs.replace(self.at.head, holder=""), self.at)
                except PreconditionFailed:
                    await self._look_again()
                if not self.at.head.holder:
                    self.failure = Fenced(f"volume {self.at.head.volume.hex()} was let go of")
                    return
            raise ConditionalConflict(f"volume {self.at.head.volume.hex()} is being changed without pause")
        finally:
            self._hurry.set()  # where it was not let go of, the next commit holds it again

    async def _commit(self) -> None:
        assert self.journal is not None
        position = self.journal.position
        frozen = self._cache.freeze()
        pause_s = RETRY_FIRST_S
        done: dict[int, Ref | None] = {}
        while True:
            try:
                await self._upload(frozen, done)
                await self._publish(position, self.size_bytes)
                break
            except ObjstoreError as failure:  # whatever it is: what was frozen has to come into the store before anything else does
                if self.failure is not None:
                    raise
                log.warning("volume %s: not committed yet: %s", self.at.head.volume.hex(), failure)
                await self._clock.sleep(pause_s)
                pause_s = min(RETRY_LIMIT_S, pause_s * 2)
        self.commits += 1
        self._committed = position
        self._cache.thaw({index for index, ref in done.items() if ref is None})
        await self.journal.release(position)
        async with self._room:
            self._room.notify_all()

    async def _upload(self, frozen: dict[int, Buffer], done: dict[int, Ref | None]) -> None:
        """Put every frozen chunk into the store, and into the map; `done` are those that are there from an attempt before."""

        async def work(item: tuple[int, Buffer]) -> None:
            done[item[0]] = await self._upload_chunk(*item)

        await each(self._tasks, [item for item in frozen.items() if item[0] not in done], work, at_once=self._settings.uploads)
        for index, ref in done.items():
            await self._load_map_of(index)
            if self._map.find(index) != ref:  # else its node would be written anew, and the tree not be that of the attempt before
                self._map.set(index, ref)

    async def _upload_chunk(self, index: int, buffer: Buffer) -> Ref | None:
        if buffer.known is not None:
            await self._load_map_of(index)
            ref = self._map.find(index)
            buffer.fill(self._cache.zeros if ref is None else await self._objects.get_chunk(ref))
        if buffer.data == self._cache.zeros:
            return None
        ref = self._new_ref(buffer.data)
        await self._objects.put_chunk(ref, memoryview(buffer.data).toreadonly())
        return ref

    async def _publish(self, position: int, size_bytes: int) -> None:
        """Write the changed map nodes and swap the head."""
        while nodes := self._map.unwritten():
            await each(self._tasks, nodes, self._write_node, at_once=self._settings.uploads)
        generation = self.at.head.generation
        while True:
            tree = Tree(size_bytes, self._map.levels, self._map.root)
            head = msgspec.structs.replace(self.at.head, tree=tree, generation=generation + 1, position=position, holder=self._holder)
            try:
                self.at = await self._objects.swap(head, self.at)
            except (PreconditionFailed, NoSuchKey):
                await self._look_again()
                if self.at.head.generation == generation + 1:
                    if (self.at.head.tree, self.at.head.position) != (tree, position):
                        raise self._fence("its head was changed by a publication that nobody waited for") from None
                    break  # ours, and another's change of something else on top of it
            else:
                break
        self._number = 0
        self._held = True

    async def _write_node(self, node: tuple[Place, bytes | None]) -> None:
        place, data = node
        ref = None
        if data is not None:
            ref = self._new_ref(data)
            await self._objects.put_node(ref, data)
        self._map.replace(place, ref)

    async def _look_again(self) -> None:
        try:
            self._take(await self._objects.head(self.at.head.volume))
        except NoSuchKey:
            raise self._fence("the volume was deleted") from None

    def _take(self, found: Swapped) -> None:
        """The head as another left it.  Raises Fenced where it is not ours any more."""
        # A volume that was removed and made anew under its id may be in the same epoch; a journal belongs to one attachment.
        if (found.head.epoch, found.head.journal, found.head.created_us) != (
            self.at.head.epoch,
            self.at.head.journal,
            self.at.head.created_us,
        ):
            raise self._fence(
                f"it was attached by {found.head.holder or 'nobody'} in epoch {found.head.epoch}, after {self.at.head.epoch} here"
            )
        if found.head.generation == self.at.head.generation and found.head.tree != self.at.head.tree:
            raise self._fence("it was changed while nobody held it")
        self.at = found

    def _fence(self, why: str) -> Fenced:
        failure = Fenced(f"volume {self.at.head.volume.hex()}: {why}")
        if self.failure is None:
            self.failure = failure
            log.error("%s; this process serves it no more", failure)
            self._hurry.set()
        return failure

    def _new_ref(self, data: bytes | bytearray) -> Ref:
        self._number += 1
        return ref_of(self.at.head.volume, self.at.head.generation, self._number, data)

    async def _resize(self, size_bytes: int) -> None:
        async with self._committing:
            before = self.size_bytes
            check_shape(size_bytes, self.chunk_bytes)
            if size_bytes < before:
                raise InvalidArgument(f"a volume of {before} bytes cannot be made shorter: {size_bytes}")
            self._map.grow(max(self._map.levels, levels_for(size_bytes, self.chunk_bytes)))
            pause_s = RETRY_FIRST_S
            while True:  # until it is known whether the head is this one: the next commit must not take it for its own
                try:
                    await self._publish(self._committed, size_bytes)
                    break
                except ObjstoreError as failure:
                    if self.failure is not None:
                        raise
                    log.warning("volume %s: not resized yet: %s", self.at.head.volume.hex(), failure)
                    await self._clock.sleep(pause_s)
                    pause_s = min(RETRY_LIMIT_S, pause_s * 2)
            self.size_bytes = size_bytes  # not before: a write behind the end that the head knows could not be taken up again

    async def _commit_for_ever(self) -> None:
        while self.failure is None:
            try:
                async with asyncio.timeout(self._settings.commit_interval_s):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._hurry.clear()
            try:
                await self.commit()
            except Fenced:
                break
            except ObjstoreError as failure:
                log.warning("volume %s: commit failed: %s", self.at.head.volume.hex(), failure)
        async with self._room:
            self._room.notify_all()

    async def _watch(self) -> None:
        while self.failure is None:
            await self._clock.sleep(self._settings.watch_interval_s)
            if self._committing.locked():
                continue  # which finds out by itself
            try:
                found = await self._objects.head(self.at.head.volume)
                if found.head.epoch != self.at.head.epoch or found.head.created_us != self.at.head.created_us:
                    self._take(found)
                elif found.head.holder != self._holder:
                    self._held = False
                    self._hurry.set()
            except NoSuchKey:
                self._fence("the volume was deleted")
            except Fenced:
                return
            except ObjstoreError:
                continue

    # -- inside -----------------------------------------------------------------------------------------------

    def _may_write(self) -> bool:
        """Whether there is room for a write now.  Raises Fenced, ReadOnly."""
        if self.failure is not None:
            raise self.failure
        if self.journal is None:
            raise ReadOnly("this volume is read only", condition="read-only")
        if self.journal.failure is not None:
            raise self.journal.failure
        changed, size = self._cache.changed_bytes, self.journal.size_bytes
        # What is left of a journal whose records are all in the store goes with the next segment: to wait for that is to wait for ever.
        kept = size if self.journal.position > self._committed else 0
        if changed * 2 > self._settings.changed_bytes or kept * 2 > self._settings.journal_bytes:
            self._hurry.set()
        return (
            changed < self._settings.changed_bytes
            and kept < self._settings.journal_bytes
            and self.journal.gathered_bytes < GATHERED_LIMIT_BYTES
        )

    async def _make_ready(self, offset: int, length: int) -> None:
        await self._learn(offset, length)
        if self._may_write():
            return
        assert self.journal is not None
        if self.journal.gathered_bytes >= GATHERED_LIMIT_BYTES:
            await self.journal.flush()
            return
        self._hurry.set()
        async with self._room:
            if not self._may_write():
                await self._room.wait()

    def _is_blank(self, index: int) -> bool:
        """Whether nothing in memory or in the store says other than zeros; False as well when that is not known yet."""
        return self._cache.get(index) is None and self._map.missing(index) is None and self._map.find(index) is None

    def _is_known(self, offset: int, length: int) -> bool:
        """Whether the map is there for a range."""
        return all(self._map.missing(index) is None for index, _, _ in self._cache.pieces(offset, length))

    def _change(self, offset: int, data: bytes | memoryview) -> None:
        at = 0
        for index, start, stop in self._cache.pieces(offset, len(data)):
            piece = data if stop - start == len(data) else memoryview(data)[at : at + stop - start]
            self._cache.write(index, start, piece, blank=self._map.find(index) is None)
            at += stop - start

    def _zero(self, offset: int, length: int) -> None:
        for index, start, stop in self._cache.pieces(offset, length):
            self._cache.zero(index, start, stop, blank=self._map.find(index) is None)

    async def _learn(self, offset: int, length: int) -> None:
        for index, _, _ in self._cache.pieces(offset, length):
            await self._learn_of(index)

    async def _learn_of(self, index: int) -> None:
        """Load the map of a chunk; who waits for it has as much patience as who waits for a chunk."""
        deadline = self._clock.monotonic() + self._settings.patience_s
        pause_s = RETRY_FIRST_S
        while self._map.missing(index) is not None:
            if self.failure is not None:
                raise self.failure
            try:
                await self._load_map_of(index)
            except (Unavailable, Damaged) as failure:
                if self._clock.monotonic() > deadline:
                    raise
                log.warning("volume %s: the map of chunk %d cannot be read yet: %s", self.at.head.volume.hex(), index, failure)
                await self._clock.sleep(pause_s)
                pause_s = min(RETRY_LIMIT_S, pause_s * 2)

    async def _load_map_of(self, index: int) -> None:
        while (wanted := self._map.missing(index)) is not None:
            ref, place = wanted
            self._map.load(place, await self._objects.get_node(ref))

    async def prepare(self, offset: int, length: int) -> None:
        """Load the map of a range, for `replay`, or fail at once."""
        for index, _, _ in self._cache.pieces(offset, length):
            await self._load_map_of(index)

    async def _fetch(self, index: int) -> None:
        """Have a chunk in memory; many callers, one fetch."""
        await asyncio.shield(self._fetching.get(index) or self._begin_fetch(index))

    async def _fetch_alone(self, index: int) -> None:
        deadline = self._clock.monotonic() + self._settings.patience_s
        pause_s = RETRY_FIRST_S
        while True:
            if self.failure is not None:
                raise self.failure
            ref = None
            try:
                await self._load_map_of(index)
                ref = self._map.find(index)
                data = bytearray(self._cache.zeros) if ref is None else await self._objects.get_chunk(ref)
            except (Unavailable, Damaged, NoSuchKey) as failure:
                if isinstance(failure, NoSuchKey) and ref != self._map.find(index):
                    continue  # replaced and swept meanwhile
                if self._clock.monotonic() > deadline:
                    raise
                log.warning("volume %s: chunk %d cannot be read yet: %s", self.at.head.volume.hex(), index, failure)
                await self._clock.sleep(pause_s)
                pause_s = min(RETRY_LIMIT_S, pause_s * 2)
                continue
            if self._map.find(index) == ref:  # else it was written and committed meanwhile: these bytes are old
                self.fetches += 1
                if ref is not None or self._cache.get(index) is not None:
                    self._cache.keep(index, data)
                return

    def _expect_more(self, offset: int, length: int) -> None:
        """Notice reads that go on in order, and fetch what comes next before it is asked for."""
        end, run = self._stream
        run = run + 1 if offset == end else 0
        self._stream = (offset + length, run)
        ahead = self._settings.read_ahead_chunks
        if run < READ_AHEAD_RUN or not ahead:
            return
        last = (self.size_bytes - 1) // self.chunk_bytes
        first = (offset + length) // self.chunk_bytes
        for index in range(first, min(first + ahead, last + 1)):
            self._fetch_early(index)

    def _fetch_early(self, index: int) -> None:
        if index in self._fetching or self._cache.get(index) is not None or self._map.missing(index) is not None:
            return
        if self._map.find(index) is not None:
            self._begin_fetch(index)

    def _begin_fetch(self, index: int) -> asyncio.Task[None]:
        task = self._fetching[index] = self._tasks.spawn(self._fetch_alone(index), name="fetch")
        task.add_done_callback(lambda _: self._fetching.pop(index, None))
        return task
