"""Mark and sweep: removes chunks and nodes that no volume and no snapshot names.  Nothing named is ever removed; no clock decides.

1. List the chunks and nodes that there are: the candidates.
2. Read all heads, again and again until a listing shows no new one, and mark what their trees and pins name; then what readers read.
3. Remove every unmarked candidate whose generation is over: its volume's head, as read in 2, has a higher one, or there is none.

References to pieces that exist come into a head at its creation only, while another head, which the clone was pinned at, has them; so
whatever moves while the heads are read one by one is in a head of the last listing.  A piece of the head's own generation may belong to a
commit under way; a commit of an older generation cannot succeed any more.  See ADR 16 for the argument in full.
"""

import logging
from dataclasses import dataclass, field

from objstore.errors import NoSuchKey, ObjstoreError
from objstore.records.store import Leases
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.chunk_map import ChunkMap
from objstore.services.volume.layout import HOLE, Head, Ref, Tree, parse_piece, unpack_ref
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.parallel import each
from objstore.services.volume.readers import READER_PATIENCE_S

log = logging.getLogger(__name__)

LEASE = "sweep"
AT_ONCE = 16  # nodes that are read, pieces that are removed

Piece = tuple[bytes, int, int]


@dataclass
class Swept:
    """What a round found and did."""

    volumes: int = 0
    candidates: int = 0
    named: int = 0
    removed: int = 0
    readers: int = 0
    kept_young: int = 0  # unnamed, but younger than the grace
    kept_open: int = 0  # unnamed, but of a generation that may still be committed
    heads: dict[bytes, Head] = field(default_factory=dict, repr=False)


class Sweeper:
    """One round at a time."""

    def __init__(self, objects: VolumeObjects, *, grace_s: float = 3600.0) -> None:
        self._objects = objects
        self._tasks = TaskOwner("sweep")
        self._grace_us = int(grace_s * 1e6)  # for who reads without being one of `readers`; safety does not rest on it

    async def run(self) -> Swept:
        """Remove what nobody names.  Raises Unavailable, Damaged: then nothing, or less, was removed."""
        swept = Swept()
        now_us = self._objects.clock.wall_us()
        candidates: list[tuple[str, Piece, bool]] = []
        for prefix in ("chunk/", "node/"):
            async for info in self._objects.listed(prefix):
                piece = parse_piece(info.key)
                if piece is not None:
                    candidates.append((info.key, piece, info.modified_us > now_us - self._grace_us))
        named = await self._mark(swept)
        swept.candidates, swept.named = len(candidates), len(named)
        gone: list[str] = []
        for key, piece, young in candidates:
            if (key.startswith("node/"), *piece) in named:
                continue
            head = swept.heads.get(piece[0])
            if head is not None and piece[1] >= head.generation:
                swept.kept_open += 1
            elif young:
                swept.kept_young += 1
            else:
                gone.append(key)

        async def remove(key: str) -> None:
            await self._objects.drop(key)
            swept.removed += 1

        await each(self._tasks, gone, remove, at_once=AT_ONCE)
        return swept

    async def _mark(self, swept: Swept) -> set[tuple[bool, bytes, int, int]]:
        """(is a node, volume, generation, number) of everything named."""
        named: set[tuple[bool, bytes, int, int]] = set()
        seen: set[bytes] = set()
        while True:
            new = [volume async for volume in self._objects.volumes() if volume not in seen]
            if not new:
                break
            for volume in new:
                seen.add(volume)
                try:
                    head = (await self._objects.head(volume)).head
                except NoSuchKey:
                    continue
                swept.heads[volume] = head
                try:
                    for tree in (head.tree, *(pin.tree for pin in head.pins)):
                        await self._mark_tree(tree, named)
                except NoSuchKey:
                    if not head.maker:
                        raise
                    # A clone whose pin was taken back before it was there, and whose maker died then: it never was a volume.
                    log.warning("the clone %s was never completed; what it names is gone", volume.hex())
        swept.volumes = len(swept.heads)
        # After the heads: who opened a tree that a head had no more when it was read has written so before.
        for reader in await self._objects.readers(self._objects.clock.wall_us() - int(READER_PATIENCE_S * 1e6)):
            swept.readers += 1
            try:
                await self._mark_tree(reader.tree, named)
            except NoSuchKey:  # it was silent for so long that it was swept under it; others' pieces are not kept for it
                log.warning("volume %s was read by who gave no sign of life; what was read is gone", reader.volume.hex())
        return named

    async def _mark_tree(self, tree: Tree, named: set[tuple[bool, bytes, int, int]]) -> None:
        if tree.root == HOLE:
            return
        nodes = [unpack_ref(tree.root)]
        added: list[tuple[bool, bytes, int, int]] = []
        try:
            for level in range(tree.levels, 0, -1):
                # What is named already is so with all below it: a node is written once.
                new = [ref for ref in nodes if (True, ref.volume, ref.generation, ref.number) not in named]
                nodes = await self._below(Tree(tree.size_bytes, level, tree.root), new)
                added += [(True, ref.volume, ref.generation, ref.number) for ref in new]
                named.update(added)
        except NoSuchKey:
            named.difference_update(added)  # not with all below it
            raise
        named.update((False, ref.volume, ref.generation, ref.number) for ref in nodes)

    async def _below(self, tree: Tree, nodes: list[Ref]) -> list[Ref]:
        """What nodes of the tree's highest level name."""
        found: list[Ref] = []

        async def visit(ref: Ref) -> None:
            # A map of one node: its entries are what matters here, not where they belong.
            node = ChunkMap(Tree(tree.size_bytes, tree.levels, ref.pack()))
            node.load((tree.levels, 0), await self._objects.get_node(ref))
            found.extend(entry for _, entry in node.entries((tree.levels, 0)))

        await each(self._tasks, nodes, visit, at_once=AT_ONCE)
        return found


async def sweep_for_ever(volumes: Volumes, leases: Leases, *, holder: str, interval_s: float, grace_s: float) -> None:
    """A round every `interval_s`, by one of all the processes that call this: whoever has the lease, which lasts as long.

    Rounds of two processes at once would be safe, only twice the work.
    """
    clock = volumes.objects.clock
    while True:
        await clock.sleep(interval_s)
        try:
            # A little shorter than the interval, so that the holder's clock cannot find its own lease still running out.
            if await leases.acquire(LEASE, holder, interval_s * 0.9) is None:
                continue
            swept = await Sweeper(volumes.objects, grace_s=grace_s).run()
            ended = await end_old_clones(volumes, list(swept.heads.values()))
        except ObjstoreError as failure:
            log.warning("volumes were not swept this time: %s", failure)
        else:
            log.info("volumes swept: %d of %d pieces removed, %d clones given up", swept.removed, swept.candidates, ended)


async def end_old_clones(volumes: Volumes, heads: list[Head]) -> int:
    """Take back what makers of clones left when they died, of all heads: pins, and clones whose pins are gone; how many."""
    ended = 0
    pinned = {pin.id for head in heads for pin in head.pins}
    for head in heads:
        try:
            ended += await volumes.end_clones(head)
            if head.maker and head.maker not in pinned:
                ended += await volumes.end_orphan(head)
        except ObjstoreError as failure:  # of one volume; the others' are not left for it
            log.warning("pins of clones of volume %s are not looked at this time: %s", head.volume.hex(), failure)
    return ended
