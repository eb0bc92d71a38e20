"""Typed settings: TOML files, then environment, then command line, checked once against one schema.

A schema is a struct of sections, each a msgspec Struct or a dataclass of plain values with defaults.  An unknown section
or key is an error that names the nearest one, since a setting that is silently ignored is worse than one that is refused.
In the environment `OBJSTORE_SECTION__KEY` sets `section.key`, and `OBJSTORE_SECTION__KEY_FILE` takes its value from a file.
Each value remembers where it came from.
"""

import dataclasses
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")
Scalar = str | int | float | bool
ENVIRONMENT_PREFIX = "OBJSTORE_"
DEFAULT = "default"


class ConfigError(ValueError):
    """A setting that cannot be used; the message says which, where, why and what to write instead."""


@dataclasses.dataclass(frozen=True)
class Loaded(Generic[T]):
    """Settings, and by "section.key" the place that each value came from ("default" where nobody set it)."""

    settings: T
    origins: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One key of a schema: its declared type and default."""

    section: str
    key: str
    type: Any
    default: Any


@dataclasses.dataclass
class _Assignment:
    value: Any
    origin: str
    is_text: bool  # from the environment or the command line: "60" may mean 60


def load(
    schema: type[T],
    *,
    files: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    foreign: Collection[str] = (),
) -> Loaded[T]:
    """Merge all sources, later ones winning: defaults, `files` in order, `environment`, `overrides` ("section.key=value").

    Sections named in `foreign` are somebody else's: they are passed over in files.  Raises ConfigError; OSError for a file
    that cannot be read.
    """
    known = {(setting.section, setting.key): setting for setting in settings_of(schema)}
    assigned: dict[tuple[str, str], _Assignment] = {}
    for path in files:
        assigned.update(_from_file(path, known, foreign))
    assigned.update(_from_environment(environment or {}, known))
    assigned.update(_from_overrides(overrides, known))
    values: dict[str, dict[str, Any]] = {}
    for (section, key), given in assigned.items():
        values.setdefault(section, {})[key] = _typed(known[section, key], given)
    sections = {name: kind(**values.get(name, {})) for name, kind, _ in _fields(schema)}
    origins = {f"{s}.{k}": assigned[s, k].origin if (s, k) in assigned else DEFAULT for s, k in known}
    return Loaded(schema(**sections), origins)


def settings_of(schema: type[Any]) -> list[Setting]:
    """Every setting of a schema, in the order of declaration."""
    return [Setting(name, key, kind, default) for name, section, _ in _fields(schema) for key, kind, default in _fields(section)]


def parse_override(text: str) -> tuple[str, str, str]:
    """("section", "key", "value") of "section.key=value".  Raises ConfigError."""
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not equals or not dot or not section or not key:
        raise ConfigError(f"--set {text!r} is not of the form section.key=value")
    return section, key, value


def render_toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of plain values as TOML; a list of mappings becomes an array of tables; None is left out."""
    lines: list[str] = []
    for name, table in tables.items():
        lines += ["", f"[{name}]"] if lines else [f"[{name}]"]
        nested = {k: v for k, v in table.items() if isinstance(v, list | tuple) and v and isinstance(v[0], Mapping)}
        tables_in = {k: v for k, v in table.items() if isinstance(v, Mapping)}
        lines += [f"{k} = {_toml_value(v)}" for k, v in table.items() if k not in nested and k not in tables_in and v is not None]
        for key, named in tables_in.items():  # a table of tables: [section.key.name]
            if not any(isinstance(row, Mapping | msgspec.Struct) or dataclasses.is_dataclass(row) for row in named.values()):
                lines += ["", f"[{name}.{key}]", *(f"{_toml_value(k)} = {_toml_value(v)}" for k, v in named.items())]
                continue
            for inner, row in named.items():
                lines += ["", f"[{name}.{key}.{_toml_value(inner)}]"]
                lines += [f"{k} = {_toml_value(v)}" for k, v in msgspec.to_builtins(row).items() if v is not None]
        for key, rows in nested.items():
            for row in rows:
                lines += ["", f"[[{name}.{key}]]"]
                lines += [f"{k} = {_toml_value(v)}" for k, v in row.items() if v is not None]
    return "\n".join(lines) + "\n"


def nearest(word: str, words: Iterable[str]) -> str:
    """A hint that names the closest of `words`, or all of them when none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 only needed to word an error; it is slow to import

    candidates = sorted(words)
    close = get_close_matches(word, candidates, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(candidates)}"


def _fields(kind: type[Any]) -> list[tuple[str, Any, Any]]:
    """(name, type, default) of a Struct's or dataclass's fields."""
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return [
            (f.name, hints[f.name], f.default if f.default_factory is dataclasses.MISSING else f.default_factory())
            for f in dataclasses.fields(kind)
        ]
    return [
        (f.name, f.type, f.default if f.default_factory is msgspec.NODEFAULT else f.default_factory()) for f in msgspec.structs.fields(kind)
    ]


Known = Mapping[tuple[str, str], Setting]


def _check(section: str, key: str, known: Known, where: str) -> None:
    sections = {s for s, _ in known}
    if section not in sections:
        raise ConfigError(f"{where}: there is no section {section!r}; {nearest(section, sections)}")
    if (section, key) not in known:
        raise ConfigError(f"{where}: section {section!r} has no key {key!r}; {nearest(key, (k for s, k in known if s == section))}")


def _from_file(path: Path, known: Known, foreign: Collection[str]) -> dict[tuple[str, str], _Assignment]:
    text = path.read_text()
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise ConfigError(f"{path}: {failure}") from failure
    found = {}
    for section, table in tables.items():
        if section in foreign:
            continue
        if not isinstance(table, dict):
            raise ConfigError(f"{path}:{_line(text, '', section)}: {section!r} stands outside of any section")
        for key, value in table.items():
            where = f"{path}:{_line(text, section, key)}"
            _check(section, key, known, where)
            found[section, key] = _Assignment(value, where, is_text=False)
    return found


def _line(text: str, section: str, key: str) -> int:
    """The line that assigns `key` in `[section]`, for messages; 1 when it is written in some unusual way."""
    current = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("["):
            current = line.strip("[] ")
            if current in (key, f"{section}.{key}"):
                return number
        elif current == section and line.partition("=")[0].strip().strip("\"'") == key:
            return number
    return 1


def _from_environment(environment: Mapping[str, str], known: Known) -> dict[tuple[str, str], _Assignment]:
    found: dict[tuple[str, str], _Assignment] = {}
    for variable in sorted(environment):
        section, separator, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not variable.startswith(ENVIRONMENT_PREFIX) or not separator:
            continue
        value = environment[variable]
        if (section, key) not in known and (section, key.removesuffix("_file")) in known:
            key = key.removesuffix("_file")
            value = Path(value).read_text().strip()
        _check(section, key, known, f"${variable}")
        found[section, key] = _Assignment(value, f"${variable}", is_text=True)
    return found


def _from_overrides(overrides: Sequence[str], known: Known) -> dict[tuple[str, str], _Assignment]:
    found = {}
    for text in overrides:
        section, key, value = parse_override(text)
        _check(section, key, known, f"--set {section}.{key}")
        found[section, key] = _Assignment(value, f"--set {section}.{key}", is_text=True)
    return found


def _typed(setting: Setting, given: _Assignment) -> Any:
    value = given.value
    try:
        if given.is_text and value[:1] in ("[", "{") and setting.type is not str:
            return msgspec.convert(msgspec.json.decode(value), setting.type)
        return msgspec.convert(value, setting.type, strict=not given.is_text)
    except msgspec.MsgspecError as failure:
        choices = [str(choice) for choice in get_args(setting.type)] if get_origin(setting.type) is Literal else []
        why = f"it is one of {', '.join(choices)}" if choices else str(failure)
        raise ConfigError(f"{given.origin}: {setting.section}.{setting.key} = {value!r} cannot be used: {why}") from failure


def _toml_value(value: Any) -> str:
    # Strings, numbers, booleans and lists of them are written in TOML exactly as in JSON.
    plain = msgspec.to_builtins(value)
    assert isinstance(plain, str | int | float | bool | list | tuple), f"{value!r} has no place in a settings file"
    return msgspec.json.encode(plain).decode()
