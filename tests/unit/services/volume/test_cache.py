"""Buffers of chunks against a bytearray."""

import random

from objstore.services.volume.cache import ChunkCache

CHUNK = 64 * 1024


def test_pieces_cover_a_range_in_order() -> None:
    cache = ChunkCache(CHUNK, CHUNK)
    assert list(cache.pieces(CHUNK - 5, CHUNK + 10)) == [(0, CHUNK - 5, CHUNK), (1, 0, CHUNK), (2, 0, 5)]


def test_frozen_chunks_stay_as_they_were_and_writes_go_on() -> None:
    cache = ChunkCache(CHUNK, 10 * CHUNK)
    cache.write(0, 0, b"old", blank=True)
    frozen = cache.freeze()
    cache.write(0, 0, b"new", blank=False)
    assert bytes(frozen[0].data[:3]) == b"old"
    assert bytes(cache.view(0, 0, 3) or b"") == b"new"
    assert cache.changed_bytes == 2 * CHUNK
    cache.thaw()
    assert cache.changed_bytes == CHUNK
    assert set(cache.freeze()) == {0}


def test_what_is_not_known_is_not_shown_until_the_rest_comes() -> None:
    cache = ChunkCache(CHUNK, 10 * CHUNK)
    cache.write(3, 100, b"abc", blank=False)
    assert bytes(cache.view(3, 100, 103) or b"") == b"abc"
    assert cache.view(3, 99, 103) is None
    cache.keep(3, bytearray(b"-" * CHUNK))
    assert bytes(cache.view(3, 99, 104) or b"") == b"-abc-"


def test_the_longest_unused_goes_first_and_changed_chunks_stay() -> None:
    cache = ChunkCache(CHUNK, 4 * CHUNK)
    cache.write(100, 0, b"x", blank=True)
    for index in range(4):
        cache.keep(index, bytearray(CHUNK))
    cache.view(0, 0, 1)
    cache.keep(4, bytearray(CHUNK))
    assert cache.get(1) is None
    assert cache.get(0) is not None
    assert cache.get(100) is not None


def test_zeroed_chunks_take_no_memory_and_can_be_written_again() -> None:
    cache = ChunkCache(CHUNK, 4 * CHUNK)
    cache.write(0, 0, b"x" * CHUNK, blank=True)
    cache.zero(0, 0, CHUNK, blank=False)
    assert cache.changed_bytes == 0
    assert cache.is_zero(0)
    cache.write(0, 5, b"y", blank=False)
    assert bytes(cache.view(0, 4, 7) or b"") == b"\0y\0"
    cache.zero(9, 0, CHUNK, blank=True)
    assert cache.get(9) is None


def test_any_order_of_operations_gives_what_a_bytearray_gives() -> None:
    rng = random.Random(5)
    chunks = 4
    store = {index: bytearray(rng.randbytes(CHUNK)) for index in range(chunks)}
    model = bytearray(b"".join(store.values()))
    cache = ChunkCache(CHUNK, 4 * CHUNK)
    frozen = None
    for _ in range(3000):
        draw = rng.random()
        index, start = rng.randrange(chunks), rng.choice([0, rng.randrange(CHUNK)])
        stop = rng.choice([CHUNK, min(CHUNK, start + rng.randrange(1, 300))])
        if draw < 0.4:
            data = rng.randbytes(stop - start)
            cache.write(index, start, data, blank=False)
            model[index * CHUNK + start : index * CHUNK + stop] = data
        elif draw < 0.5:
            cache.zero(index, start, stop, blank=False)
            model[index * CHUNK + start : index * CHUNK + stop] = bytes(stop - start)
        elif draw < 0.6:
            buffer = cache.get(index)
            if buffer is None or buffer.known is not None:
                cache.keep(index, bytearray(store[index]))
        elif draw < 0.65 and frozen is None:
            frozen = cache.freeze()
        elif draw < 0.7 and frozen is not None:
            for at, buffer in frozen.items():
                buffer.fill(store[at])
                store[at] = bytearray(buffer.data)
            cache.thaw()
            frozen = None
        else:
            view = cache.view(index, start, stop)
            if view is not None:
                assert view == model[index * CHUNK + start : index * CHUNK + stop]
            elif cache.get(index) is None:
                assert store[index][start:stop] == model[index * CHUNK + start : index * CHUNK + stop]
