"""Key sets from an issuer's address."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from objstore.errors import InvalidArgument
from objstore.identity.directory import Directory
from objstore.identity.entities import WebProvider
from objstore.identity.tokens import TokenSealer
from objstore.identity.web_keys import WebKeys, check_address, fetch_keys
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import MemoryCluster, memory_world
from tests.support.web_tokens import key_set

ARN = "arn:aws:iam::a:oidc-provider/issuer"


class Issuer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = {"/keys?v=1": key_set(), "/other": "{}", "/bytes": "\xff"}.get(self.path, "")
        self.send_response(200 if body else 404)
        data = body.encode("latin-1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Issuer) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_keys_are_fetched_and_seen_to_be_keys(url: str) -> None:
    assert asyncio.run(fetch_keys(f"{url}/keys?v=1")) == key_set()
    for path in ("/other", "/bytes"):
        with pytest.raises(InvalidArgument):
            asyncio.run(fetch_keys(url + path))
    for address in (f"{url}/none", "http://127.0.0.1:9/keys"):
        with pytest.raises(OSError):
            asyncio.run(fetch_keys(address))


def test_a_provider_has_the_keys_that_were_fetched(url: str) -> None:
    async def test() -> None:
        provider = WebProvider(1, "a", "issuer", 0)
        directory = Directory([], MemoryCluster(), memory_world(SystemClock()), TokenSealer(bytes(32), SystemRng()), [provider])  # type: ignore[arg-type] # any Clock does
        assert directory.providers[ARN].keys == ""
        keys = WebKeys(directory, {ARN: f"{url}/keys?v=1"})
        await keys.start()
        async with asyncio.timeout(5):
            while not directory.providers[ARN].keys:
                await asyncio.sleep(0.01)
        await keys.aclose()
        assert directory.providers[ARN].keys == key_set()
        await directory.aclose()

    asyncio.run(test())


def test_addresses_are_checked_before_the_start() -> None:
    check_address("https://issuer/keys?a=b")
    for bad in ("", "issuer/keys", "ftp://x", "https://user:word@x"):
        with pytest.raises(InvalidArgument):
            check_address(bad)
