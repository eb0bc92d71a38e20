from hypothesis import given
from hypothesis import strategies as st

from objstore.core.manifest import pieces_of, total_size
from objstore.core.rows import PartRef, Space
from objstore.core.timestamp import ZERO


@given(st.lists(st.integers(0, 6), max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_pieces_put_together_are_the_slice_of_the_whole(sizes: list[int], offset: int, length: int) -> None:
    parts = [PartRef(space=Space.PARTS, name=bytes([i]), size=size, etag="", origin=ZERO, number=i) for i, size in enumerate(sizes)]
    bodies = [bytes([i] * size) for i, size in enumerate(sizes)]
    whole = b"".join(bodies)
    assert total_size(parts) == len(whole)
    pieces = list(pieces_of(parts, offset, length))
    assert b"".join(bodies[p.part.number][p.offset : p.offset + p.length] for p in pieces) == whole[offset : offset + length]
    assert all(p.length > 0 and p.offset + p.length <= p.part.size for p in pieces)
