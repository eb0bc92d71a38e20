"""The map against a dict: any entries, any growth, written out and loaded again at any time."""

import random

from objstore.services.volume.chunk_map import ChunkMap
from objstore.services.volume.layout import HOLE, Ref, Tree, ref_of

VOLUME = b"v" * 16


def settle(chunk_map: ChunkMap, objects: dict[Ref, bytes]) -> None:
    while nodes := chunk_map.unwritten():
        assert len({place[0] for place, _ in nodes}) == 1
        for place, data in nodes:
            ref = None if data is None else ref_of(VOLUME, 1, len(objects) + 1, data)
            if ref is not None and data is not None:
                objects[ref] = data
            chunk_map.replace(place, ref)


def ready(chunk_map: ChunkMap, index: int, objects: dict[Ref, bytes]) -> None:
    while (wanted := chunk_map.missing(index)) is not None:
        chunk_map.load(wanted[1], objects[wanted[0]])


def test_the_map_says_what_a_dict_says() -> None:
    rng = random.Random(7)
    objects: dict[Ref, bytes] = {}
    model: dict[int, Ref | None] = {}
    levels = 1
    chunk_map = ChunkMap(Tree(512, levels, HOLE))
    for _ in range(1500):
        index = rng.choice([rng.randrange(1 << (10 * levels)), rng.randrange(20)])
        ready(chunk_map, index, objects)
        draw = rng.random()
        if draw < 0.6:
            model[index] = None if rng.random() < 0.3 else ref_of(VOLUME, 9, rng.randrange(1 << 30), b"")
            chunk_map.set(index, model[index])
        elif draw < 0.9:
            assert chunk_map.find(index) == model.get(index)
        elif draw < 0.99:
            settle(chunk_map, objects)
            if rng.random() < 0.5:
                chunk_map = ChunkMap(Tree(512, chunk_map.levels, chunk_map.root))
        elif levels < 3:
            levels += 1
            chunk_map.grow(levels)
    for index, ref in model.items():
        ready(chunk_map, index, objects)
        assert chunk_map.find(index) == ref


def test_a_change_writes_one_node_of_each_level_and_no_more() -> None:
    objects: dict[Ref, bytes] = {}
    chunk_map = ChunkMap(Tree(512, 3, HOLE))
    for index in (0, 5000, 1 << 21):
        ready(chunk_map, index, objects)
        chunk_map.set(index, ref_of(VOLUME, 1, 1, b""))
    settle(chunk_map, objects)
    before = len(objects)
    chunk_map.set(5000, ref_of(VOLUME, 2, 2, b""))
    settle(chunk_map, objects)
    assert len(objects) == before + 3
    assert not chunk_map.unwritten()


def test_a_map_whose_last_entry_goes_is_a_hole_again() -> None:
    objects: dict[Ref, bytes] = {}
    chunk_map = ChunkMap(Tree(512, 2, HOLE))
    ready(chunk_map, 1500, objects)
    chunk_map.set(1500, ref_of(VOLUME, 1, 1, b""))
    settle(chunk_map, objects)
    assert chunk_map.root != HOLE
    chunk_map.set(1500, None)
    settle(chunk_map, objects)
    assert chunk_map.root == HOLE


def test_entries_name_what_a_node_holds() -> None:
    chunk_map = ChunkMap(Tree(512, 1, HOLE))
    refs = {3: ref_of(VOLUME, 1, 1, b"a"), 900: ref_of(VOLUME, 1, 2, b"b")}
    for index, ref in refs.items():
        chunk_map.set(index, ref)
    assert dict(chunk_map.entries((1, 0))) == refs
