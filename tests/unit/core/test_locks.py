import msgspec
import pytest

from objstore.core.locks import (
    LockConfig,
    ObjectLock,
    check_config,
    check_end,
    check_overwritten,
    check_removable,
    check_retention_change,
    decode_config,
    encode_config,
    lock_fields,
)
from objstore.core.rows import NEW_VERSION, Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import AccessDenied, InvalidArgument, InvalidRetentionPeriod

NOW = 1_000_000
DAY = 86_400_000_000
ROW = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=1)


def held(mode: str = "", until: int = 0, *, hold: bool = False) -> Row:
    return msgspec.structs.replace(ROW, lock_mode=mode, retain_until_us=until, legal_hold=hold)


def test_configurations_round_trip_and_are_judged() -> None:
    for config in (LockConfig(), LockConfig(mode="GOVERNANCE", days=1), LockConfig(mode="COMPLIANCE", years=100)):
        check_config(config)
        assert decode_config(encode_config(config)) == config


@pytest.mark.parametrize(("days", "years"), [(0, 0), (-1, 0), (0, -1), (1, 1), (36_501, 0), (0, 101)])
def test_periods_have_limits(days: int, years: int) -> None:
    with pytest.raises(InvalidRetentionPeriod):
        check_config(LockConfig(mode="GOVERNANCE", days=days, years=years))
    with pytest.raises(InvalidArgument):
        check_config(LockConfig(mode="governance", days=1))


def test_a_new_version_gets_what_is_asked_or_the_default() -> None:
    default = LockConfig(mode="GOVERNANCE", days=2)
    assert lock_fields(LockConfig(), None, NOW) == {"legal_hold": False}
    assert lock_fields(default, None, NOW) == {"lock_mode": "GOVERNANCE", "retain_until_us": NOW + 2 * DAY, "legal_hold": False}
    assert lock_fields(LockConfig(mode="GOVERNANCE", years=1), None, NOW)["retain_until_us"] == NOW + 365 * DAY
    assert lock_fields(default, ObjectLock(legal_hold=True), NOW)["legal_hold"]
    asked = ObjectLock("COMPLIANCE", NOW + 5)
    assert lock_fields(default, asked, NOW) == {"lock_mode": "COMPLIANCE", "retain_until_us": NOW + 5, "legal_hold": False}
    for wrong in (ObjectLock("COMPLIANCE", NOW), ObjectLock("ELSE", NOW + 5)):
        with pytest.raises(InvalidArgument):
            lock_fields(default, wrong, NOW)
    check_end("GOVERNANCE", NOW + 1, NOW)


@pytest.mark.parametrize(
    ("row", "free", "free_with_bypass"),
    [
        (held(), True, True),
        (held("GOVERNANCE", NOW), True, True),
        (held("GOVERNANCE", NOW + 1), False, True),
        (held("COMPLIANCE", NOW + 1), False, False),
        (held("COMPLIANCE", NOW), True, True),
        (held(hold=True), False, False),
        (held("GOVERNANCE", NOW + 1, hold=True), False, False),
        (msgspec.structs.replace(held("COMPLIANCE", NOW + 1, hold=True), kind=Kind.DELETE_MARKER), True, True),
    ],
)
def test_who_may_remove_a_version(row: Row, free: bool, free_with_bypass: bool) -> None:
    for bypass, allowed in ((False, free), (True, free_with_bypass)):
        if allowed:
            check_removable(row, NOW, bypass=bypass)
        else:
            with pytest.raises(AccessDenied):
                check_removable(row, NOW, bypass=bypass)


@pytest.mark.parametrize(
    ("row", "mode", "until", "free", "free_with_bypass"),
    [
        (held(), "COMPLIANCE", NOW + 5, True, True),
        (held("GOVERNANCE", NOW + 5), "GOVERNANCE", NOW + 6, True, True),
        (held("GOVERNANCE", NOW + 5), "GOVERNANCE", NOW + 4, False, True),
        (held("GOVERNANCE", NOW + 5), "COMPLIANCE", NOW + 6, False, True),
        (held("GOVERNANCE", NOW + 5), "", 0, False, True),
        (held("COMPLIANCE", NOW + 5), "COMPLIANCE", NOW + 5, True, True),
        (held("COMPLIANCE", NOW + 5), "COMPLIANCE", NOW + 4, False, False),
        (held("COMPLIANCE", NOW + 5), "GOVERNANCE", NOW + 9, False, False),
        (held("COMPLIANCE", NOW + 5), "", 0, False, False),
        (held("COMPLIANCE", NOW), "", 0, True, True),
    ],
)
def test_who_may_change_a_retention(row: Row, mode: str, until: int, free: bool, free_with_bypass: bool) -> None:
    for bypass, allowed in ((False, free), (True, free_with_bypass)):
        if allowed:
            check_retention_change(row, mode, until, NOW, bypass=bypass)
        else:
            with pytest.raises(AccessDenied):
                check_retention_change(row, mode, until, NOW, bypass=bypass)


def test_a_retention_never_ends_in_the_past() -> None:
    with pytest.raises(InvalidArgument):
        check_retention_change(held(), "GOVERNANCE", NOW, NOW, bypass=True)


def test_a_write_takes_the_place_of_the_null_version_unless_that_is_locked() -> None:
    null = held(hold=True)
    with pytest.raises(AccessDenied):
        check_overwritten(null, ROW, NOW)
    check_overwritten(null, msgspec.structs.replace(ROW, version=NEW_VERSION), NOW)
    check_overwritten(msgspec.structs.replace(null, version="00" * 16), ROW, NOW)
    check_overwritten(ROW, ROW, NOW)
    check_overwritten(None, ROW, NOW)
