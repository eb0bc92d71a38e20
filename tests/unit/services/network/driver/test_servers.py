"""Which processes serve a namespace is told by their arguments."""

import asyncio
import tempfile

from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.tasks import ThreadPool
from objstore.services.network.driver.servers import Server, Servers


def test_configuration_names_its_namespace_and_changes_its_name_with_its_text() -> None:
    one, other = Server("ns", "dnsmasq", "port=0\n"), Server("ns", "dnsmasq", "port=1\n")
    assert one.file != other.file
    assert one.file.startswith("ns.")
    assert one.file.endswith(".dnsmasq")


def test_directory_without_servers_has_none_and_ending_them_is_no_error() -> None:
    async def body(directory: str) -> None:
        threads = ThreadPool("t", 1)
        servers = Servers(RealDisk(directory), directory, threads, SystemClock())
        assert await servers.running() == {}
        await servers.settle("ns", [], {})
        await servers.end("ns", {})
        threads.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(body(directory))
