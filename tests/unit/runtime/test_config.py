"""Settings from files, environment and command line: order, types, and errors that name the place and the way out."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from objstore.runtime.config import ConfigError, load, nearest, parse_override, render_toml, settings_of


class Store(msgspec.Struct, frozen=True):
    pack_size_bytes: Annotated[int, msgspec.Meta(ge=4096)] = 1 << 20
    sync: bool = True
    name: str = "x"
    hosts: tuple[str, ...] = ()
    limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Timing:
    interval_s: float = 1.5
    tags: list[str] = dataclasses.field(default_factory=list)


class Schema(msgspec.Struct, frozen=True):
    store: Store = Store()
    timing: Timing = Timing()


def _file(directory: Path, text: str) -> Path:
    path = directory / "objstore.toml"
    path.write_text(text)
    return path


def test_defaults_stand_where_nobody_sets_anything() -> None:
    loaded = load(Schema)
    assert loaded.settings == Schema()
    assert set(loaded.origins.values()) == {"default"}


def test_command_line_beats_environment_beats_file(tmp_path: Path) -> None:
    path = _file(tmp_path, '[store]\npack_size_bytes = 5000\nname = "file"\nsync = false\n')
    loaded = load(
        Schema,
        files=[path],
        environment={"OBJSTORE_STORE__NAME": "env", "OBJSTORE_STORE__PACK_SIZE_BYTES": "6000", "HOME": "/", "OBJSTORE_CONFIG": "x"},
        overrides=["store.pack_size_bytes=7000"],
    )
    assert loaded.settings.store == Store(pack_size_bytes=7000, name="env", sync=False)
    assert loaded.origins["store.pack_size_bytes"] == "--set store.pack_size_bytes"
    assert loaded.origins["store.name"] == "$OBJSTORE_STORE__NAME"
    assert loaded.origins["store.sync"] == f"{path}:4"
    assert loaded.origins["timing.interval_s"] == "default"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("store.sync=false", Store(sync=False)),
        ("store.name=12", Store(name="12")),
        ("store.name=a=b", Store(name="a=b")),
        ("store.limit=12", Store(limit=12)),
        ("store.limit=null", Store(limit=None)),
        ('store.hosts=["a","b"]', Store(hosts=("a", "b"))),
    ],
)
def test_text_is_read_as_the_type_of_its_setting(override: str, value: Store) -> None:
    assert load(Schema, overrides=[override]).settings.store == value


def test_dataclass_sections_work_like_structs() -> None:
    assert load(Schema, overrides=["timing.interval_s=3"]).settings.timing == Timing(interval_s=3.0)
    assert [s.key for s in settings_of(Schema)] == ["pack_size_bytes", "sync", "name", "hosts", "limit", "interval_s", "tags"]


def test_a_secret_comes_from_a_file_named_in_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden\n")
    assert load(Schema, environment={"OBJSTORE_STORE__NAME_FILE": str(secret)}).settings.store.name == "hidden"


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("store.pack_size_byte=1", "did you mean 'pack_size_bytes'"),
        ("stroe.name=1", "did you mean 'store'"),
        ("store.zzz=1", "known are: hosts, limit"),
        ("store.pack_size_bytes=many", "store.pack_size_bytes = 'many' cannot be used"),
        ("store.pack_size_bytes=1", ">= 4096"),
        ("store", "section.key=value"),
        ("store.=2", "section.key=value"),
    ],
)
def test_a_wrong_override_is_refused_with_a_hint(override: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Schema, overrides=[override])
    assert hint in str(caught.value)


def test_an_unknown_key_in_a_file_is_refused_with_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, '# a comment\n[timing]\n\n[store]\nname = "x"\nsnyc = true\n')
    with pytest.raises(ConfigError, match=rf"{path}:6: section 'store' has no key 'snyc'; did you mean 'sync'"):
        load(Schema, files=[path])


def test_a_file_that_is_no_toml_or_has_stray_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        load(Schema, files=[_file(tmp_path, "[store\n")])
    with pytest.raises(ConfigError, match=":1: 'name' stands outside"):
        load(Schema, files=[_file(tmp_path, "name = 1\n")])


def test_a_wrong_type_in_a_file_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r":2: store.sync = 'true' cannot be used"):
        load(Schema, files=[_file(tmp_path, '[store]\nsync = "true"\n')])


def test_an_unknown_variable_of_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\$OBJSTORE_STORE__NAM: .*did you mean 'name'"):
        load(Schema, environment={"OBJSTORE_STORE__NAM": "x"})


def test_rendered_toml_reads_back_as_it_was() -> None:
    tables = {
        "store": {"name": 'quo"te\\ \n ü', "size": 3, "ratio": 0.5, "on": True, "hosts": ["a", "b"], "gone": None},
        "layout": {"version": 1, "node": [{"name": "node1", "zone": 1}, {"name": "node2", "zone": 2}]},
    }
    back = tomllib.loads(render_toml(tables))
    del tables["store"]["gone"]
    assert back == tables


def test_nearest_and_parse_override() -> None:
    assert nearest("cluser", ["cluster", "engine"]) == "did you mean 'cluster'?"
    assert parse_override("a.b=c=d") == ("a", "b", "c=d")


def test_foreign_sections_of_a_file_are_passed_over(tmp_path: Path) -> None:
    path = _file(tmp_path, '[layout]\nanything = 1\n[store]\nname = "x1"\n')
    assert load(Schema, files=[path], foreign=("layout",)).settings.store.name == "x1"
    with pytest.raises(ConfigError, match="no section 'layout'"):
        load(Schema, files=[path])


def test_a_table_of_words_is_rendered_as_it_is_read() -> None:
    tables = {"objects": {"storage_classes": {"STANDARD_IA": "cold", "a class": "dark"}, "bucket_spread": 3}, "log": {"level": "info"}}
    assert tomllib.loads(render_toml(tables)) == tables
    assert tomllib.loads(render_toml({"objects": {"storage_classes": {}}})) == {"objects": {"storage_classes": {}}}
