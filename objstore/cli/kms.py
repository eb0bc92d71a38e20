"""The cluster's file of master keys, and the key service that a proxy is given."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from objstore.cli.layout import Place, write_file
from objstore.cli.settings import read_cluster_key
from objstore.errors import InvalidArgument, KeyNotFound
from objstore.identity.kms import CachedKeys, KmsSettings, LocalKeys, MasterKeys, Secrets, parse_keys, render_keys, with_names
from objstore.identity.vault import VaultKeys
from objstore.runtime import log as logs
from objstore.runtime.config import ConfigError


def ensure_master_keys(place: Place) -> None:
    """Make the file of master keys if it is not there, and add those that the settings and identities name.

    What is in it stays.  New ones come from the cluster key, so that every host of a cluster makes the same.  Raises ConfigError, OSError.
    """
    held: Secrets = read_keys(place.kms_file) if place.kms_file.exists() else {}
    settings = _section(place.cluster_file, "kms")
    if settings.get("kind", "local") != "local":
        return
    names = [settings.get(field) or getattr(KmsSettings(), field) for field in ("store_key", "default_key")]
    names += [str(row.get("id", "")) for row in _tables(place.identities_file).get("kms_key", [])]
    try:
        completed = with_names(held, names, read_cluster_key(str(place.cluster_key_file)))
    except KeyNotFound as failure:
        raise ConfigError(f"[kms] and [[kms_key]] name master keys by letters, digits, '-', '_' and '.': {failure}") from None
    if completed != held:
        write_file(place.kms_file, render_keys(completed).encode(), mode=0o600)


def key_service(settings: KmsSettings, kms_file: str, world: Any) -> CachedKeys | None:
    """What a proxy asks for data keys; None where nothing is configured.  Raises ConfigError, OSError."""
    masters: MasterKeys
    if settings.kind == "vault":
        if not settings.vault_url or not settings.vault_token_file:
            raise ConfigError('[kms] kind = "vault" needs vault_url and vault_token_file')
        try:
            masters = VaultKeys(settings, _token_reader(settings.vault_token_file))
        except ValueError as failure:
            raise ConfigError(f"[kms] vault_url: {failure}") from None
    elif settings.kind == "local":
        if not kms_file:
            return None
        masters = LocalKeys(lambda: read_keys(Path(kms_file)), world.rng, world.clock)
    else:
        raise ConfigError(f'[kms] kind = {settings.kind!r}: it is "local" or "vault"')
    return CachedKeys(masters, settings, world.rng, world.clock)


def read_keys(path: Path) -> Secrets:
    """The file's master keys; their text is kept out of logs from then on.  Raises ConfigError, OSError."""
    try:
        keys = parse_keys(path.read_text())
    except InvalidArgument as failure:
        raise ConfigError(f"{path}: {failure}") from None
    for versions in keys.values():
        for secret in versions.values():
            logs.hide(secret.hex())
    return keys


def _token_reader(path: str) -> Callable[[], str]:
    def read() -> str:
        token = Path(path).read_text().strip()
        logs.hide(token)
        return token

    return read


def _section(path: Path, name: str) -> dict[str, Any]:
    section = _tables(path).get(name, {})
    return section if isinstance(section, dict) else {}


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as failure:
        raise ConfigError(f"{path} is not TOML: {failure}") from None
