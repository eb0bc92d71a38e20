"""Whose bytes a version may live off."""

import msgspec

from objstore.core.rows import Kind
from objstore.core.timestamp import ZERO
from objstore.node.engine.family import has_bytes_of, is_head_too, is_miscounted, kept_of
from objstore.node.engine.records import SHADOWED, Entry, flags_of, head_of
from tests.support.engine_rig import ballot, row


def entry(encoded: bytes) -> Entry:
    head = head_of(encoded)
    return Entry(0, flags_of(head), ZERO, ballot(1), head.size, 1, 104, head.size, 0, 1, b"", encoded)


def test_only_the_same_bytes_of_the_same_version_will_do() -> None:
    mine = row(ballot(1), b"bytes", version=ballot(1).hex())
    assert has_bytes_of(entry(mine), head_of(row(ballot(9), b"bytes", version=ballot(1).hex())))
    assert not has_bytes_of(entry(mine), head_of(row(ballot(9), b"other", version=ballot(1).hex())))
    assert not has_bytes_of(entry(mine), head_of(row(ballot(9), b"bytes", version=ballot(2).hex())))
    assert not has_bytes_of(entry(row(ballot(1), kind=Kind.TOMBSTONE, version=ballot(1).hex())), head_of(mine))
    assert not has_bytes_of(None, head_of(mine))


def test_a_blob_is_known_by_its_id() -> None:
    mine = row(ballot(1), blob=b"b" * 16, size=5)
    assert has_bytes_of(entry(mine), head_of(row(ballot(2), blob=b"b" * 16, size=5)))
    assert not has_bytes_of(entry(mine), head_of(row(ballot(2), blob=b"c" * 16, size=5)))


def test_a_register_that_only_promised_is_nothing_to_the_rules() -> None:
    assert kept_of(None) is None
    assert kept_of(msgspec.structs.replace(entry(row(ballot(1), b"")), row=b"")) is None


def test_what_an_entry_says_of_being_the_head_is_held_against_the_head() -> None:
    version = ballot(1).hex()
    mine = entry(row(ballot(1), b"", version=version))
    shadowed = msgspec.structs.replace(mine, flags=mine.flags | SHADOWED)
    promoted, other = entry(row(ballot(3), b"", version=version)), entry(row(ballot(4), b"", version=ballot(4).hex()))
    assert is_head_too(promoted, version)
    assert not is_head_too(entry(row(ballot(3), kind=Kind.TOMBSTONE, version=version)), version)
    for head in (promoted, other, None):
        assert is_miscounted(mine, head, version) is (head is promoted)
        assert is_miscounted(shadowed, head, version) is (head is not promoted)
    assert not is_miscounted(entry(row(ballot(1), kind=Kind.TOMBSTONE, version=version)), promoted, version)
