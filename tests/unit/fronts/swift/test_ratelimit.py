"""How often accounts and containers may be asked."""

import time
from collections.abc import Iterator

import pytest

from objstore.fronts.swift.context import SwiftSettings
from objstore.fronts.swift.ratelimit import Paces, rate_at, steps_of
from objstore.runtime.config import ConfigError
from tests.support.s3_server import Running
from tests.support.swift_server import OTHER, RESELLER, TESTER, Swift, swift_serving

SETTINGS = SwiftSettings(
    account_ratelimit=20.0, container_ratelimit={"2": 5.0}, container_listing_ratelimit={"0": 4.0}, max_sleep_s=0.3, rate_buffer_s=0.5,
    account_whitelist=("AUTH_admin",), account_blacklist=("AUTH_test2",),
)  # fmt: skip


def test_turns_come_at_the_rate_after_a_burst() -> None:
    paces = Paces(1.0)
    waits = [paces.wait_s("a", 10.0, 100.0, 0.25) for _ in range(14)]
    assert waits[:11] == [0.0] * 11
    assert waits[11:13] == pytest.approx([0.1, 0.2])
    assert waits[13] is None
    assert paces.wait_s("a", 10.0, 100.1, 0.25) == pytest.approx(0.2)  # who was refused took no turn
    assert paces.wait_s("b", 10.0, 100.0, 0.25) == 0.0


def test_rates_go_down_from_size_to_size() -> None:
    steps = steps_of({"200": 10.0, "100": 50.0})
    assert [rate_at(steps, size) for size in (0, 99, 100, 150, 200, 10**9)] == [0.0, 0.0, 50.0, 30.0, 10.0, 10.0]
    assert rate_at((), 5) == 0.0
    for wrong in ({"x": 1.0}, {"-1": 1.0}, {"5": 0.0}):
        with pytest.raises(ConfigError):
            steps_of(wrong)


@pytest.fixture(scope="module")
def limited() -> Iterator[Running]:
    with swift_serving(settings=SETTINGS) as found:
        yield found


def test_containers_are_made_at_the_accounts_rate(limited: Running) -> None:
    swift = Swift(limited, TESTER)
    statuses = []
    began = time.monotonic()
    while 498 not in statuses and time.monotonic() - began < 10:
        statuses.append(swift("PUT", "made").status)
        if len(statuses) > 60:
            break
    assert time.monotonic() - began >= (len(statuses) - 12) / 20.0 * 0.5
    assert {*statuses} <= {201, 202, 498}


def test_listings_and_writes_that_come_too_fast_are_refused(limited: Running) -> None:
    swift, reseller = Swift(limited, TESTER), Swift(limited, RESELLER)
    while swift("PUT", "c", X_Container_Read=".r:*,.rlistings").status == 498:
        time.sleep(0.1)
    for name in "ab":
        assert swift("PUT", f"c/{name}", b"").status == 201

    def refused(caller: Swift) -> bool:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: caller("GET", "c"), range(12)))
        assert {reply.status for reply in replies} <= {200, 204, 498}
        return any(reply.status == 498 and reply.body == b"Slow down" for reply in replies)

    assert refused(Swift(limited, None, account="test"))  # strangers, who take no turn of the owner's
    assert swift("GET", "c").status == 200
    assert refused(swift)
    reseller("PUT", "c")
    assert not refused(reseller)  # its account is on the white list


def test_a_blacklisted_account_is_refused(limited: Running) -> None:
    other = Swift(limited, OTHER)
    assert (other("GET").status, other("PUT", "c").status) == (497, 497)
    assert "ratelimit" in other.raw("GET", "/info").json
