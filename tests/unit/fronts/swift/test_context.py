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


def test_an_account_of_services_is_another_account() -> None:
    front = SwiftFront(None, None, SwiftSettings(service_prefixes=("SERVICE_",)), None, None)  # type: ignore[arg-type]
    assert front.account_of("SERVICE_abc") == "SERVICE_:abc"
    assert front.account_of("AUTH_SERVICE_abc") == "SERVICE_abc"
    assert front.segment_of("SERVICE_:abc") == "SERVICE_abc"
    assert front.service_accounts("abc") == ["SERVICE_:abc"]
    for segment in ("AUTH_SERVICE_:abc", "SERVICE_a:b", "SERVICE_", "KEY_abc"):
        with pytest.raises(SwiftRefused):
            front.account_of(segment)
