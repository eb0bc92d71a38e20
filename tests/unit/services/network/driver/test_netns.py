"""What a driver says before it touches anything; what it does is seen in namespaces (tests/conformance/test_network_driver.py)."""

import asyncio
import tempfile

import pytest

from objstore.runtime import namespaces
from objstore.services.network.driver.api import CannotDrive, Metadata, NotTold
from objstore.services.network.driver.names import Names
from objstore.services.network.driver.netns import NetnsDriver, open_netns
from objstore.services.network.driver.plan import Site
from objstore.services.network.wanted import WantedHost
from tests.support.networks import world
from tests.support.wanted_networks import network, port, subnet

SITE = Site("h1", Names("unit"))


async def nothing(port: str, server: str) -> Metadata | None:
    return None


def test_port_that_was_not_told_of_cannot_be_plugged_in() -> None:
    async def body(directory: str) -> None:
        driver = NetnsDriver(world(), SITE, directory, nothing)
        try:
            with pytest.raises(NotTold, match="port p1"):
                await driver.plug("p1", "s1")
            await driver.unplug("p1")
        finally:
            await driver.aclose()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))


def test_host_that_cannot_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "why_not", lambda: "no /dev/net/tun")
    with tempfile.TemporaryDirectory() as directory, pytest.raises(CannotDrive, match="no /dev/net/tun"):
        asyncio.run(open_netns(world(), SITE, directory, nothing))


def test_card_that_a_guest_has_already_is_in_use_from_when_its_port_is_told() -> None:
    async def body(directory: str) -> None:
        driver = NetnsDriver(world(), SITE, directory, nothing)
        net = network(7, subnet("10.0.0.0/24"))
        told = WantedHost(1, (net,), (port(net, 5, "h2"),))
        try:
            driver.hold(told.ports[0].id)
            driver._wanted = WantedHost(0)
            assert driver._with_cards_in_use(driver._wanted) == driver._wanted
            assert not driver._plugged
            driver._wanted = told
            driver._with_cards_in_use(told)
            assert list(driver._plugged) == [told.ports[0].id]
            driver._wanted = WantedHost(2)
            assert driver._with_cards_in_use(driver._wanted).ports == told.ports
        finally:
            await driver.aclose()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))
