import random

from objstore.core.timestamp import ZERO
from objstore.node.engine.memtable import Memtable
from objstore.node.engine.records import Entry


def entry(partition: int = 0, row: bytes = b"row") -> Entry:
    return Entry(partition, 1, ZERO, ZERO, 0, 1, 100, 0, 0, 1, b"", row)


def test_keys_come_in_order_however_they_were_put() -> None:
    table = Memtable()
    keys = [b"%05d" % number for number in range(1000)]
    shuffled = list(keys)
    random.Random(1).shuffle(shuffled)
    for number, index_key in enumerate(shuffled):
        table.put(index_key, entry())
        if number % 300 == 0:
            assert list(table.keys_between(b"", b"\xff")) == sorted(shuffled[: number + 1])
    assert list(table.keys_between(b"00100", b"00103")) == keys[100:103]
    assert len(table) == 1000


def test_a_later_put_replaces_and_is_listed_once() -> None:
    table = Memtable()
    table.put(b"a", entry())
    table.put(b"a", entry(row=b"other"))
    table.put(b"a", 0)
    assert table.entries[b"a"] == 0
    assert list(table.keys_between(b"", b"b")) == [b"a"]
    assert table.keys_of_partition(0) == [b"a"]


def test_it_knows_how_much_memory_it_takes() -> None:
    table = Memtable()
    table.put(b"a", entry(row=b"x" * 1000))
    small = table.bytes
    assert small > 1000
    table.put(b"b", entry(row=b"x" * 2000))
    assert table.bytes > small + 2000


def test_keys_by_partition() -> None:
    table = Memtable()
    table.put(b"a", entry(1))
    table.put(b"b", entry(2))
    table.put(b"c", 2)
    assert table.keys_of_partition(1) == [b"a"]
    assert table.keys_of_partition(2) == [b"b", b"c"]
    assert table.keys_of_partition(3) == []
