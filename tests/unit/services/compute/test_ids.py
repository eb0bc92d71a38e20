"""Identifiers."""

from objstore.runtime.rng import SystemRng
from objstore.services.compute.ids import is_uuid, new_uuid


def test_new_ids_are_uuids_and_differ() -> None:
    first, second = new_uuid(SystemRng()), new_uuid(SystemRng())
    assert first != second
    assert is_uuid(first)
    assert first[14] == "4"
    assert is_uuid(first.replace("-", ""))
    assert not any(is_uuid(text) for text in ("", "1", first + "0", 7, None))
