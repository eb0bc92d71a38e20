"""The map of one volume in memory: which chunk lies where, as a tree of nodes that are loaded when they are needed.

Pure: where a node is missing, `missing` names it, the caller fetches its bytes and hands them to `load`.  Changes stay in memory
until `unwritten` and `replace`, again and again, have turned the changed nodes into references of new objects, leaves first.
"""

from collections.abc import Iterator

from objstore.services.volume.layout import (
    FANOUT,
    FANOUT_BITS,
    HOLE,
    LEVELS_LIMIT,
    REF_BYTES,
    Ref,
    Tree,
    decode_node,
    encode_node,
    unpack_ref,
)

_MASK = FANOUT - 1
Place = tuple[int, int]  # level (1: leaf) and number within the level


class ChunkMap:
    """Chunk number -> reference, or None for a hole."""

    def __init__(self, tree: Tree) -> None:
        self.levels = tree.levels
        self.root = tree.root
        self._nodes: dict[Place, bytearray] = {}
        self._changed: set[Place] = set()
        if tree.root == HOLE:
            self._nodes[self.levels, 0] = bytearray(FANOUT * REF_BYTES)

    def missing(self, index: int) -> tuple[Ref, Place] | None:
        """The node to load before anything can be said of chunk `index`; None when all that it takes is there."""
        if (1, index >> FANOUT_BITS) in self._nodes:
            return None
        above = self.root
        for level in range(self.levels, 0, -1):
            place = level, index >> (FANOUT_BITS * level)
            node = self._nodes.get(place)
            if node is None:
                if above == HOLE:  # nothing was ever written below: an empty node, not to be fetched
                    self._nodes[place] = node = bytearray(FANOUT * REF_BYTES)
                else:
                    return unpack_ref(above), place
            above = _entry(node, index >> (FANOUT_BITS * (level - 1)) & _MASK)
        return None

    def load(self, place: Place, data: bytes) -> None:
        """Take in a node's bytes, unless it came meanwhile.  Raises DamagedFile."""
        if place not in self._nodes:
            self._nodes[place] = decode_node(data, place[0])

    def find(self, index: int) -> Ref | None:
        """The chunk; call after `missing` returned None."""
        data = _entry(self._nodes[1, index >> FANOUT_BITS], index & _MASK)
        return None if data == HOLE else unpack_ref(data)

    def set(self, index: int, ref: Ref | None) -> None:
        """Name another chunk, or none; call after `missing` returned None."""
        place = 1, index >> FANOUT_BITS
        _put(self._nodes[place], index & _MASK, HOLE if ref is None else ref.pack())
        self._changed.add(place)

    def grow(self, levels: int) -> None:
        """Add levels above the root; what was mapped stays where it was."""
        assert self.levels <= levels <= LEVELS_LIMIT
        while self.levels < levels:
            self.levels += 1
            top = bytearray(FANOUT * REF_BYTES)
            _put(top, 0, self.root)
            self._nodes[self.levels, 0] = top
            self._changed.add((self.levels, 0))

    def unwritten(self) -> list[tuple[Place, bytes | None]]:
        """The changed nodes of the lowest level that has any, each with its bytes (None: it has no entry left); to be answered by `replace`.

        Then there may be some of the next level.
        """
        level = min((place[0] for place in self._changed), default=0)
        nodes = [(place, self._nodes[place]) for place in sorted(self._changed) if place[0] == level]
        return [(place, encode_node(level, node) if any(node) else None) for place, node in nodes]

    def replace(self, place: Place, ref: Ref | None) -> None:
        """The node lies in the store under this reference now."""
        level, number = place
        packed = HOLE if ref is None else ref.pack()
        self._changed.discard(place)
        if level == self.levels:
            self.root = packed
            return
        above = level + 1, number >> FANOUT_BITS
        _put(self._nodes[above], number & _MASK, packed)
        self._changed.add(above)

    def entries(self, place: Place) -> Iterator[tuple[int, Ref]]:
        """(slot, reference) of what a loaded node names."""
        node = self._nodes[place]
        for slot in range(FANOUT):
            data = _entry(node, slot)
            if data != HOLE:
                yield slot, unpack_ref(data)


def _entry(node: bytearray, slot: int) -> bytes:
    return bytes(node[slot * REF_BYTES : (slot + 1) * REF_BYTES])


def _put(node: bytearray, slot: int, ref: bytes) -> None:
    node[slot * REF_BYTES : (slot + 1) * REF_BYTES] = ref
