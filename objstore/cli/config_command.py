"""`objstore config`: check settings, show where each comes from, list what can be set."""

import json
import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from objstore.cli.errors import complain
from objstore.runtime.config import ConfigError, Loaded
from objstore.runtime.log import REDACTED, redact


class NoCluster(ConfigError):
    """There is no file of settings."""


@click.group()
def config() -> None:
    """Check and show settings."""


def _file_option(command: Any) -> Any:
    where = click.option(
        "--dir", "directory", type=click.Path(path_type=Path), default=Path("objstore-data"), show_default=True, help="The cluster's directory."
    )  # fmt: skip
    return click.option(
        "--config", "file", type=click.Path(path_type=Path), help="A cluster.toml; by default $OBJSTORE_CONFIG, else that of --dir."
    )(where(command))


def _load(file: Path | None, directory: Path) -> Loaded[Any]:
    from objstore.cli.settings import SHARED_SECTIONS, load_settings

    path = file or Path(os.environ.get("OBJSTORE_CONFIG", directory / "cluster.toml"))
    try:
        return load_settings(SHARED_SECTIONS, files=[path], foreign=("layout",))
    except OSError as failure:
        raise NoCluster(f"{path}: {failure.strerror}") from failure


@config.command()
@_file_option
def check(file: Path | None, directory: Path) -> int:
    """Say whether the settings can be used; exit 1 and the place of the mistake when not."""
    try:
        _load(file, directory)
    except ConfigError as failure:
        return complain(str(failure), hint=_hint(failure))
    print("ok")
    return 0


@config.command()
@_file_option
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(file: Path | None, directory: Path, origin: bool, as_json: bool) -> int:
    """Print all settings as they hold."""
    try:
        loaded = _load(file, directory)
    except ConfigError as failure:
        return complain(str(failure), hint=_hint(failure))
    values = _veiled(msgspec.to_builtins(loaded.settings))
    if as_json:
        print(json.dumps({"settings": values, "origins": loaded.origins} if origin else values))
        return 0
    for section, table in values.items():
        print(f"[{section}]")
        for key, value in table.items():
            comment = f"  # {loaded.origins[f'{section}.{key}']}" if origin else ""
            print(f"{key} = {json.dumps(value)}{comment}")
        print()
    return 0


@config.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON schema.")
def schema(as_json: bool) -> int:
    """Print every setting with its type and default."""
    from objstore.cli.settings import SHARED_SECTIONS, all_settings, schema_of

    if as_json:
        print(json.dumps(msgspec.json.schema(schema_of(SHARED_SECTIONS))))
        return 0
    section = ""
    for setting in all_settings():
        if setting.section != section:
            print(f"[{setting.section}]" if not section else f"\n[{setting.section}]")
            section = setting.section
        print(f"{setting.key} = {json.dumps(msgspec.to_builtins(setting.default))}  # {_type_name(setting.type)}")
    return 0


def _hint(failure: ConfigError) -> str:
    return "the directory of a cluster: --dir D, or --config FILE" if isinstance(failure, NoCluster) else "objstore config schema"


def _veiled(value: Any) -> Any:
    """The values without tokens and passwords: what is shown is read over shoulders and pasted into questions."""
    if isinstance(value, dict):
        return {key: REDACTED if key == "token" and kept else _veiled(kept) for key, kept in value.items()}
    return redact(value) if isinstance(value, str) else value


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(json.dumps(value) for value in get_args(kind))
    return kind.__name__ if isinstance(kind, type) else str(kind)
