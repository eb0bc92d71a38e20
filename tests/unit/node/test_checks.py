from typing import Any

import pytest

from objstore.core.names import ROW_NAME_LIMIT_BYTES
from objstore.core.rows import Register, RowKey
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidArgument
from objstore.node import checks
from objstore.node.checks import check_ballots, check_items, check_key, check_partition, check_scan
from objstore.wire.messages import PartitionRow, Scan

GOOD = RowKey(b"bucket01", 0, b"name")


def scan(**changes: Any) -> Scan:
    fields = {"bucket": b"bucket01", "space": 0, "prefix": b"", "start": b"", "limit": 1, **changes}
    return Scan(1, 2, b"12345678", 1000, **fields)


@pytest.mark.parametrize(
    "key", [GOOD, RowKey(b"bucket01", 255, b""), RowKey(b"bucket01", 0, b"x" * ROW_NAME_LIMIT_BYTES), RowKey(b"bucket01", 0, b"x", ZERO)]
)
def test_a_key_that_fits_passes(key: RowKey) -> None:
    check_key(key)


@pytest.mark.parametrize(
    "key",
    [
        RowKey(b"bucket1", 0, b"x"),
        RowKey(b"", 0, b"x"),
        RowKey(b"bucket01", -1, b"x"),
        RowKey(b"bucket01", 256, b"x"),
        RowKey(b"bucket01", 0, b"x" * (ROW_NAME_LIMIT_BYTES + 1)),
        RowKey(b"bucket01", 0, b"x", b"short"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(key: RowKey) -> None:
    with pytest.raises(InvalidArgument):
        check_key(key)
    with pytest.raises(InvalidArgument):
        check_items([PartitionRow(GOOD, Register()), PartitionRow(key, Register())])


def test_ballots_have_one_length() -> None:
    check_ballots(ZERO, ZERO)
    for wrong in (b"", b"x" * 11, b"x" * 13):
        with pytest.raises(InvalidArgument):
            check_ballots(ZERO, wrong)
    with pytest.raises(InvalidArgument):
        check_items([PartitionRow(GOOD, Register(accepted=b""))])  # type: ignore[arg-type]


def test_partitions_are_those_of_the_ring() -> None:
    check_partition(0, 4)
    check_partition(3, 4)
    for wrong in (-1, 4, 1 << 40):
        with pytest.raises(InvalidArgument):
            check_partition(wrong, 4)


def test_items_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_ITEMS", 1)
    with pytest.raises(InvalidArgument):
        check_items([PartitionRow(GOOD, Register())] * 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"bucket": b""},
        {"space": -1},
        {"space": 256},
        {"start": bytes(ROW_NAME_LIMIT_BYTES + 1)},
        {"limit": 0},
        {"start_version": b"1"},
        {"torn": True, "delimiter": b"/"},
    ],
)
def test_a_scan_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    check_scan(scan())
    with pytest.raises(InvalidArgument):
        check_scan(scan(**changes))
