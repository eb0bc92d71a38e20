"""`objstore keys`: the master keys of a cluster's file, by name; secrets are never shown."""

import json
import secrets
from pathlib import Path

import click

from objstore.cli.directory import cluster_directory
from objstore.cli.errors import complain
from objstore.cli.kms import ensure_master_keys, read_keys
from objstore.cli.layout import Place, write_file
from objstore.core.encryption import KEY_BYTES
from objstore.errors import KeyNotFound
from objstore.identity.kms import RELOAD_S, key_name, render_keys, rotated
from objstore.runtime.config import ConfigError


@click.group()
def keys() -> None:
    """Master keys of server-side encryption, in the cluster's secrets/kms.toml."""


@keys.command("list")
@cluster_directory
def list_keys(directory: Path) -> int:
    """Print the names and their versions as JSON."""
    try:
        ensure_master_keys(Place(directory))
        held = read_keys(Place(directory).kms_file)
    except (ConfigError, OSError) as failure:
        return complain(f"the master keys cannot be read: {failure}")
    print(json.dumps({name: sorted(versions) for name, versions in held.items()}))
    return 0


@keys.command()
@click.argument("name")
@cluster_directory
def add(name: str, directory: Path) -> int:
    """Make a key NAME for clients to name in x-amz-server-side-encryption-aws-kms-key-id."""
    return _write(directory, name, new=True)


@keys.command()
@click.argument("name")
@cluster_directory
def rotate(name: str, directory: Path) -> int:
    """Give key NAME a new version.  New objects are encrypted under it; older versions stay, and open what they encrypted.

    On several hosts copy the file to all of them at once: a proxy cannot open what another encrypted under a version that it lacks.
    """
    return _write(directory, name, new=False)


def _write(directory: Path, name: str, *, new: bool) -> int:
    place = Place(directory)
    try:
        if key_name(name) != name:
            return complain(f"{name!r} is not a bare name", hint="leave out arn:... and alias/")
        ensure_master_keys(place)
        held = read_keys(place.kms_file)
        if new == (name in held):
            return complain(f"key {name!r} is {'there already' if new else 'not there'}", hint="objstore keys list")
        changed = rotated(held, name, secrets.token_bytes(KEY_BYTES))
        write_file(place.kms_file, render_keys(changed).encode(), mode=0o600)
    except (KeyNotFound, ConfigError, OSError) as failure:
        return complain(f"the master keys are as they were: {failure}")
    print(json.dumps({"key": name, "version": max(changed[name]), "used_within_s": RELOAD_S}))
    return 0
