"""Accounts in paths."""

import pytest

from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.context import SwiftFront, SwiftSettings

FRONT = SwiftFront(None, None, SwiftSettings(reseller_prefix="KEY_"), None, None)  # type: ignore[arg-type]


def test_an_account_has_the_resellers_prefix() -> None:
    assert FRONT.account_of("KEY_abc") == "abc"
    assert FRONT.storage_url("https://h", "abc") == "https://h/v1/KEY_abc"


@pytest.mark.parametrize("segment", ["", "KEY_", "AUTH_abc", "KEY_a/b"])
def test_what_is_no_account_of_ours_is_not_found(segment: str) -> None:
    with pytest.raises(SwiftRefused) as refused:
        FRONT.account_of(segment)
    assert refused.value.status == 404
