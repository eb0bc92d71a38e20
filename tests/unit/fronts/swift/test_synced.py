"""What another cluster says of an object, taken apart; whole requests are in test_container_sync.py."""

import asyncio

import pytest

from objstore.errors import NotImplementedHere
from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.fronts.swift.request import SwiftRequest
from objstore.fronts.swift.synced import attributes_sent, is_missing, is_outdated
from objstore.objects.api import Principal
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.support.store_rig import ALICE, Rig, with_rig


def request(**headers: str) -> SwiftRequest:
    scope = {"type": "http", "method": "PUT", "path": "/v1/AUTH_alice/photos/k", "query_string": b"", "headers": []}
    made = SwiftRequest(scope, None, "tx", SystemClock())  # type: ignore[arg-type] # nothing is received
    made.headers = {name.replace("_", "-"): value for name, value in headers.items()}
    made.container, made.key, made.who = "photos", "k", Principal(account="alice").at("alice")
    return made


def front(rig: Rig | None = None) -> SwiftFront:
    return SwiftFront(rig.store if rig else None, None, SwiftSettings(), SystemClock(), SystemRng())  # type: ignore[arg-type] # as far as needed


def test_a_static_link_keeps_what_its_target_was() -> None:
    given = attributes_sent(front(), request(x_symlink_target="c/o", x_symlink_target_etag="e", content_type="a/b", x_object_meta_m="1"))
    assert given.headers == {"x-symlink-target": "c/o", "x-symlink-target-etag": "e", "x-symlink-target-bytes": "0"}
    assert (given.content_type, given.metadata) == ("a/b", {"m": "1"})
    with pytest.raises(SwiftRefused):
        attributes_sent(front(), request(x_symlink_target="no-object"))
    with pytest.raises(NotImplementedHere):
        attributes_sent(front(), request(x_static_large_object="True"))


def test_what_is_here_is_compared_in_steps_of_ten_microseconds() -> None:
    async def test(rig: Rig) -> None:
        assert await is_missing(front(rig), request())
        assert not await is_outdated(front(rig), request(), 0)
        info = await rig.put("k")
        assert not await is_missing(front(rig), request())
        assert await is_outdated(front(rig), request(), info.modified_us)
        assert not await is_outdated(front(rig), request(), info.modified_us + 10)
        assert (await rig.store.head(ALICE, "photos", "k")).size == 4
        await asyncio.sleep(0)

    with_rig(test)
