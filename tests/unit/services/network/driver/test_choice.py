"""A host's driver is the one it can have."""

import asyncio
import tempfile

import pytest

from objstore.runtime import namespaces
from objstore.services.network.driver.api import CannotDrive, Metadata, NetworkDriver
from objstore.services.network.driver.choice import open_driver
from objstore.services.network.driver.names import Names
from objstore.services.network.driver.plan import Site
from tests.support.networks import world


async def nothing(port: str, server: str) -> Metadata | None:
    return None


def opened(kind: str) -> NetworkDriver:
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(open_driver(kind, world(), Site("h1", Names("unit")), directory, nothing))


def test_host_without_privileges_has_qemus_own_network_unless_another_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "why_not", lambda: "no root")
    assert opened("auto").name == opened("user").name == "user"
    with pytest.raises(CannotDrive, match="no root"):
        opened("netns")


def test_driver_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'ovn'"):
        opened("ovn")
