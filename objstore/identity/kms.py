"""Master keys and what is done with them: data keys are made and wrapped here, objects never see a master key (ADR 7).

Two places for master keys: a file of this store's own (below), or a service that speaks Vault's transit protocol
(`identity/vault.py`).  In front of both stands a cache, so that a popular object, or a bucket with a bucket key, does not cost a call
to the service each time; a key that is withdrawn still opens what it opened within the last `cache_s`.

The file is TOML, mode 0600, one table for each version of a key; the highest version wraps, all of them open:

    [[key]]
    id = "objstore-s3"
    version = 1
    secret = "64 hexadecimal digits"
"""

import hashlib
import hmac
import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.core.encryption import KEY_BYTES, SEED_BYTES
from objstore.errors import DamagedBody, InvalidArgument, KeyNotFound, KeyServiceUnavailable
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng

log = logging.getLogger(__name__)

STORE_KEY = "objstore-s3"
DEFAULT_KEY = "objstore-default"
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_ARN = re.compile(r"arn:[^:/]*:kms:(?:[^:/]*:[^:/]*:)?(?:(?:key|alias)/)?([^:/]*)")
RELOAD_S = 10.0  # a rotated key is used within this time
_CACHED = 10_000  # data keys held at once
_FORMAT = b"\x01"
_NO_NONCE = bytes(12)  # each wrapping key seals one thing only


class KmsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[kms]` section."""

    kind: Literal["local", "vault"] = "local"  # "local": the file; "vault": a service that speaks Vault's transit protocol
    store_key: str = STORE_KEY  # master key of SSE-S3; clients cannot name it
    default_key: str = DEFAULT_KEY  # master key of SSE-KMS where a request names none; "" refuses such requests
    cache_s: float = 300.0  # a data key is remembered for so long, and a bucket key used
    vault_url: str = ""  # https://vault.example:8200
    vault_token_file: str = ""  # holds the token; read again when it is refused
    vault_mount: str = "transit"
    vault_namespace: str = ""
    vault_ca_file: str = ""  # certificates that the service's is checked against; "" takes the system's
    timeout_s: float = 5.0


class MasterKeys(Protocol):
    """Where master keys are.  Raises KeyNotFound, KeyServiceUnavailable, AccessDenied."""

    async def wrap(self, name: str, data_key: bytes, context: str) -> bytes:
        """Seal a data key under the latest version of a master key."""

    async def unwrap(self, name: str, wrapped: bytes, context: str) -> bytes:
        """The data key.  Raises DamagedBody when it was not sealed under that name and context."""


def key_name(key_id: str) -> str:
    """The name behind a key id: itself, or the end of an ARN or alias.  Raises KeyNotFound for what cannot be one."""
    found = _ARN.fullmatch(key_id)
    name = found[1] if found is not None else key_id.removeprefix("alias/")
    if _NAME.fullmatch(name) is None:
        raise KeyNotFound(f"{key_id[:200]!r} is not the name of a key", key_id=key_id[:200])
    return name


# -- the file -------------------------------------------------------------------------------------------------------------

Secrets = Mapping[str, Mapping[int, bytes]]
"""Name -> version -> 32 bytes."""


class _KeyEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    version: int
    secret: str


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: tuple[_KeyEntry, ...] = ()


def parse_keys(text: str) -> dict[str, dict[int, bytes]]:
    """Read the file.  Raises InvalidArgument, which never shows a secret."""
    try:
        entries = msgspec.convert(tomllib.loads(text), _KeyFile).key
    except (tomllib.TOMLDecodeError, msgspec.ValidationError):
        raise InvalidArgument("the file of master keys is not TOML with [[key]] tables of id, version and secret") from None
    keys: dict[str, dict[int, bytes]] = {}
    for entry in entries:
        try:
            secret = bytes.fromhex(entry.secret)
        except ValueError:
            secret = b""
        if len(secret) != KEY_BYTES or _NAME.fullmatch(entry.id) is None or not 1 <= entry.version < 1 << 32:
            raise InvalidArgument(
                f"master key {entry.id[:128]!r}: a name of letters, digits, '-', '_' and '.', a version from 1, 64 hexadecimal digits"
            )
        if entry.version in keys.setdefault(entry.id, {}):
            raise InvalidArgument(f"master key {entry.id!r} has version {entry.version} twice")
        keys[entry.id][entry.version] = secret
    return keys


def render_keys(keys: Secrets) -> str:
    """The file's text."""
    return "\n".join(
        f'[[key]]\nid = "{name}"\nversion = {version}\nsecret = "{secret.hex()}"\n'
        for name, versions in keys.items()
        for version, secret in sorted(versions.items())
    )


def derived_key(cluster_key: bytes, name: str) -> bytes:
    """The first version of a master key: it comes from the cluster key, so that all hosts of a cluster make the same one."""
    return hmac.digest(cluster_key, b"objstore kms 1\0" + name.encode(), hashlib.sha256)


def with_names(keys: Secrets, names: Iterable[str], cluster_key: bytes) -> dict[str, dict[int, bytes]]:
    """The keys and, derived, those of `names` that are not there yet.  Raises KeyNotFound for what is no name."""
    completed = {name: dict(versions) for name, versions in keys.items()}
    for name in names:
        completed.setdefault(key_name(name), {1: derived_key(cluster_key, key_name(name))})
    return completed


def rotated(keys: Secrets, name: str, secret: bytes) -> dict[str, dict[int, bytes]]:
    """The keys with a new version of one, or a new key.  What older versions wrapped still opens."""
    versions = dict(keys.get(key_name(name), {}))
    versions[max(versions, default=0) + 1] = secret
    return {**{other: dict(held) for other, held in keys.items()}, key_name(name): versions}


class LocalKeys:
    """Master keys in memory, from the file; `load` reads it again now and then, and when a name or version is asked for that is not there.

    A wrapped key is: 1 byte format, 4 bytes version of the master key, 32 bytes salt, then AES-256-GCM over the data key under
    HMAC-SHA256(master key, salt), so no nonce can repeat however many are wrapped.  Name and context are authenticated.
    """

    def __init__(self, load: Callable[[], Secrets], rng: Rng, clock: Clock) -> None:
        self._load = load
        self._rng = rng
        self._clock = clock
        self._keys = load()
        self._loaded_at = clock.monotonic()

    async def wrap(self, name: str, data_key: bytes, context: str) -> bytes:
        """Seal a data key under the latest version of a master key."""
        versions = self._versions(name)
        version, salt = max(versions), self._rng.token(SEED_BYTES)
        sealed = AESGCM(_wrapping_key(versions[version], salt)).encrypt(_NO_NONCE, data_key, _bound(name, context))
        return _FORMAT + version.to_bytes(4, "big") + salt + sealed

    async def unwrap(self, name: str, wrapped: bytes, context: str) -> bytes:
        """The data key.  Raises DamagedBody when it was not sealed under that name and context."""
        version, salt = int.from_bytes(wrapped[1:5], "big"), wrapped[5 : 5 + SEED_BYTES]
        master = self._versions(name, version).get(version)
        if wrapped[:1] != _FORMAT or master is None:
            raise KeyNotFound(f"version {version} of master key {name!r} is not here any more", key_id=name)
        try:
            return AESGCM(_wrapping_key(master, salt)).decrypt(_NO_NONCE, wrapped[5 + SEED_BYTES :], _bound(name, context))
        except InvalidTag:
            raise DamagedBody(f"a data key does not open under version {version} of master key {name!r}") from None

    def _versions(self, name: str, version: int = 0) -> Mapping[int, bytes]:
        versions = self._keys.get(name, {})
        missing = not versions or (version and version not in versions)
        age_s = self._clock.monotonic() - self._loaded_at
        if age_s >= RELOAD_S or (missing and age_s >= 1.0):
            self._loaded_at += age_s
            try:
                self._keys = self._load()
            except (OSError, ValueError) as failure:
                if missing:
                    raise KeyServiceUnavailable(f"the master keys cannot be read: {failure}") from failure
                log.error("the master keys cannot be read again, those known stay in use: %s", failure)  # noqa: TRY400 it says all
            versions = self._keys.get(name, {})
        if not versions:
            raise KeyNotFound(f"there is no key {name!r}", key_id=name)
        return versions


def _wrapping_key(master: bytes, salt: bytes) -> bytes:
    return hmac.digest(master, b"objstore wrap 1\0" + salt, hashlib.sha256)


def _bound(name: str, context: str) -> bytes:
    return name.encode() + b"\0" + context.encode()


# -- the service ----------------------------------------------------------------------------------------------------------


class CachedKeys:
    """`objects.encryption.KeyService` over master keys, remembering data keys for a while."""

    def __init__(self, masters: MasterKeys, settings: KmsSettings, rng: Rng, clock: Clock) -> None:
        self.store_key = settings.store_key
        self.default_key = settings.default_key
        self._masters = masters
        self._rng = rng
        self._clock = clock
        self._cache_s = settings.cache_s
        self._opened: dict[tuple[str, str, bytes], tuple[float, bytes]] = {}
        self._shared: dict[tuple[str, str, bytes], tuple[float, bytes, bytes]] = {}

    async def new_key(self, key_id: str, context: str, *, scope: bytes = b"") -> tuple[bytes, bytes]:
        """A new data key, plain and wrapped; within a `scope` that is not empty one is given out for `cache_s`."""
        name, now = key_name(key_id), self._clock.monotonic()
        if name == self.store_key and key_id != name:  # a client that calls it by an ARN or alias; the store itself never does
            raise KeyNotFound(f"there is no key {key_id[:200]!r} for clients to use", key_id=key_id[:200])
        shared = self._shared.get((name, context, scope)) if scope else None
        if shared is not None and now < shared[0]:
            return shared[1], shared[2]
        data_key = self._rng.token(KEY_BYTES)
        wrapped = await self._masters.wrap(name, data_key, context)
        if scope:
            _make_room(self._shared)
            self._shared[name, context, scope] = (now + self._cache_s, data_key, wrapped)
        return data_key, wrapped

    async def open_key(self, key_id: str, context: str, wrapped: bytes) -> bytes:
        """The data key again.  Raises DamagedBody when it is not one of that name and context."""
        name, now = key_name(key_id), self._clock.monotonic()
        known = self._opened.get((name, context, wrapped))
        if known is not None and now < known[0]:
            return known[1]
        data_key = await self._masters.unwrap(name, wrapped, context)
        if len(data_key) != KEY_BYTES:
            raise DamagedBody(f"master key {name!r} opened a data key of {len(data_key)} bytes")
        _make_room(self._opened)
        self._opened[name, context, wrapped] = (now + self._cache_s, data_key)
        return data_key


def _make_room(cache: dict[tuple[str, str, bytes], Any]) -> None:
    while len(cache) >= _CACHED:
        del cache[next(iter(cache))]  # the oldest: dictionaries keep their order
