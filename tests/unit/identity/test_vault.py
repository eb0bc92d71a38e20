"""Against a small service that speaks the transit protocol over a real socket."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from objstore.errors import AccessDenied, DamagedBody, KeyNotFound, KeyServiceUnavailable
from objstore.identity.kms import KmsSettings
from objstore.identity.vault import VaultKeys
from tests.support.transit import Transit


def with_transit(test: Callable[[Transit, VaultKeys], Awaitable[None]], token: Callable[[], str] = lambda: "tok") -> None:
    async def main() -> None:
        transit = Transit()
        server = await asyncio.start_server(transit.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await test(transit, VaultKeys(KmsSettings(kind="vault", vault_url=url, vault_namespace="ns", timeout_s=2), token))
        server.close()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_data_keys_go_there_and_back() -> None:
    async def test(transit: Transit, keys: VaultKeys) -> None:
        wrapped = await keys.wrap("k1", b"d" * 32, '{"a":"b"}')
        assert wrapped.startswith(b"vault:v1:")
        assert await keys.unwrap("k1", wrapped, '{"a":"b"}') == b"d" * 32
        assert transit.paths == ["/v1/transit/encrypt/k1", "/v1/transit/decrypt/k1"]
        assert transit.namespace == "ns"
        for name, context in (("k1", ""), ("k2", '{"a":"b"}')):
            with pytest.raises(DamagedBody):
                await keys.unwrap(name, wrapped, context)
        with pytest.raises(KeyNotFound):
            await keys.wrap("nobody", b"d" * 32, "")

    with_transit(test)


def test_a_token_that_is_refused_is_read_again() -> None:
    tokens = iter(["old", "tok", "stale"])

    async def test(transit: Transit, keys: VaultKeys) -> None:
        assert await keys.wrap("k1", b"d" * 32, "")
        transit.token = "another"
        with pytest.raises(AccessDenied):
            await keys.wrap("k1", b"d" * 32, "")

    with_transit(test, lambda: next(tokens))


@pytest.mark.parametrize(
    "broken",
    [
        (500, b"oops"),
        (503, b'{"errors":["Vault is sealed"]}'),
        (200, b"not json"),
        (200, b'{"data":{}}'),
        (200, b'{"data":3}'),
        (429, b"[]"),
    ],
)
def test_whatever_else_comes_back_is_an_outage(broken: tuple[int, bytes]) -> None:
    async def test(transit: Transit, keys: VaultKeys) -> None:
        transit.broken = broken
        with pytest.raises(KeyServiceUnavailable):
            await keys.wrap("k1", b"d" * 32, "")
        with pytest.raises(KeyServiceUnavailable):
            await keys.unwrap("k1", b"vault:v1:x", "")

    with_transit(test)


def test_a_service_that_is_gone_is_an_outage() -> None:
    async def main() -> None:
        keys = VaultKeys(KmsSettings(vault_url="http://127.0.0.1:1", timeout_s=1), lambda: "tok")
        with pytest.raises(KeyServiceUnavailable):
            await keys.wrap("k1", b"d" * 32, "")

    asyncio.run(main())
