"""Putting the identity service together."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from objstore.cli.openstack import ByPath, catalog, first_passwords, identity_app, open_database
from objstore.cli.settings import ServicesSection
from objstore.fronts.identity.settings import IdentitySettings
from objstore.identity.model import User
from objstore.runtime.config import ConfigError
from tests.support.memory_cluster import MemoryCluster, memory_world, run


def test_the_catalog_names_the_store_where_there_is_one() -> None:
    section = ServicesSection(url="http://h:1", object_store_url="http://h:2")
    assert [(place.type, place.url) for place in catalog(section)] == [
        ("identity", "http://h:1/identity/v3"),
        ("image", "http://h:1/image"),
        ("network", "http://h:1/network"),
        ("block-storage", "http://h:1/volume/v3/$(project_id)s"),
        ("volumev3", "http://h:1/volume/v3/$(project_id)s"),
        ("compute", "http://h:1/compute/v2.1"),
        ("object-store", "http://h:2/v1/AUTH_$(project_id)s"),
        ("s3", "http://h:2"),
    ]
    assert len(catalog(ServicesSection())) == 6


def test_the_services_share_a_database_below_their_directory(tmp_path: Path) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sql = open_database(stack, memory_world(), ServicesSection(data_directory=str(tmp_path / "d")), "")
            assert await sql.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar_one()) == 1
            assert (tmp_path / "d" / "services.sqlite").exists()
            for section, url in ((ServicesSection(), ""), (ServicesSection(), "mysql://h/x")):
                with pytest.raises(ConfigError):
                    open_database(stack, memory_world(), section, url)

    run(test())


def test_the_printed_password_lets_the_administrator_in(tmp_path: Path) -> None:
    (tmp_path / "admin.toml").write_text(
        '[admin]\nuser = "admin"\nproject = "admin"\npassword = "pw"\naccess_key = "a"\nsecret_key = "b"\n'
    )
    assert first_passwords(str(tmp_path / "admin.toml")) == {"admin/admin": "pw"}
    assert first_passwords("") == {}
    with pytest.raises(ConfigError):
        first_passwords(str(tmp_path / "nothing"))

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            section = ServicesSection(admin_file=str(tmp_path / "admin.toml"), url="http://h:1")
            users = [User("admin", "admin", "AK", "s", admin=True)]
            settings = IdentitySettings(hash_memory_kib=64)
            app, _ = await identity_app(stack, memory_world(), MemoryCluster(), bytes(32), users, section, settings)
            await asyncio.sleep(1)
            admin = app._identity.registry.user_named("admin", "default")
            assert admin is not None
            assert await app._identity.passwords.check(admin.id, "pw", admin.password)

    run(test())


async def _asked(app: ByPath, path: str) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "path": path}, None, send)
    return sent[0]["status"], sent[1]["body"]


def test_requests_are_counted_by_service_and_status_and_health_is_told() -> None:
    def application(status: int) -> Any:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})

        return serve

    well = True
    app = ByPath({"image": application(200)}, application(401), serves=lambda: well)
    assert asyncio.run(_asked(app, "/image/v2")) == (200, b"/image/v2")
    assert asyncio.run(_asked(app, "/v3/users")) == (401, b"/v3/users")
    assert asyncio.run(_asked(app, "/identity/v3")) == (401, b"/identity/v3")
    assert app.answered == {("image", 200): 1, ("identity", 401): 2}
    assert asyncio.run(_asked(app, "/-/health")) == (200, b"OK\n")
    well = False
    assert asyncio.run(_asked(app, "/-/health"))[0] == 503
    assert sum(app.answered.values()) == 3, "who looks after us is no client"
