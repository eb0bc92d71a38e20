"""Puts the identity service together: built-in records, the catalog, the administrator's first password."""

import contextlib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from objstore.cluster.api import ClusterApi
from objstore.fronts.identity.app import IdentityApp
from objstore.fronts.identity.call import Identity
from objstore.fronts.identity.settings import IdentitySettings
from objstore.identity.model import User
from objstore.identity.passwords import Passwords, hash_password
from objstore.identity.registry import Registry
from objstore.identity.tenancy import Place, built_in
from objstore.runtime.config import ConfigError
from objstore.runtime.world import World

DAY_S = 86_400.0


async def identity_app(
    stack: contextlib.AsyncExitStack,
    world: World,
    cluster: ClusterApi,
    key: bytes,
    users: Iterable[User],
    section: Any,
    settings: IdentitySettings,
) -> IdentityApp:
    """The application; what it is made of ends with `stack`.  `section` is [services].  Raises ConfigError."""
    threads = world.new_threads("passwords", settings.hash_threads)
    stack.callback(threads.close)
    hashes = {
        name: hash_password(password, world.rng, memory_kib=settings.hash_memory_kib)
        for name, password in first_passwords(section.admin_file).items()
    }
    registry = Registry(cluster, world, key, built_in(users, region=section.region, catalog=catalog(section), passwords=hashes))
    stack.push_async_callback(registry.aclose)
    await registry.start(sweeps=True, token_key_s=settings.token_key_days * DAY_S)
    passwords = Passwords(
        world.clock, world.rng, threads, failures=settings.lockout_failures, lock_s=settings.lockout_s, memory_kib=settings.hash_memory_kib
    )
    return IdentityApp(Identity(registry, passwords, settings, f"{section.url}/identity"))


def catalog(section: Any) -> list[Place]:
    """Where the services answer."""
    places = [Place("identity", "keystone", f"{section.url}/identity/v3")]
    if section.object_store_url:
        places.append(Place("object-store", "swift", f"{section.object_store_url}/v1/AUTH_$(project_id)s"))
        places.append(Place("s3", "s3", section.object_store_url))
    return places


def first_passwords(path: str) -> dict[str, str]:
    """ "account/name" -> password, from the administrator's file.  Raises ConfigError."""
    if not path:
        return {}
    try:
        admin = tomllib.loads(Path(path).read_text())["admin"]
        return {f"{admin['project']}/{admin['user']}": str(admin["password"])}
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as failure:
        raise ConfigError(f"the administrator's file {path} cannot be read: {failure!r}") from failure
