import asyncio
from pathlib import Path

import pytest

from objstore.cli.kms import ensure_master_keys, key_service
from objstore.cli.layout import Place
from objstore.identity.kms import KmsSettings, derived_key, parse_keys, render_keys
from objstore.runtime.config import ConfigError
from tests.support.memory_cluster import memory_world

CLUSTER_KEY = b"\x07" * 32


def place_in(path: Path, *, identities: str = "", cluster: str = "") -> Place:
    place = Place(path)
    place.secrets.mkdir()
    place.cluster_key_file.write_text(CLUSTER_KEY.hex())
    place.identities_file.write_text(identities)
    place.cluster_file.write_text(cluster)
    return place


def test_a_file_of_master_keys_is_made_from_the_cluster_key(tmp_path: Path) -> None:
    place = place_in(tmp_path, identities='[[kms_key]]\nid = "testkey-1"\n', cluster='[kms]\ndefault_key = "mine"\n')
    ensure_master_keys(place)
    keys = parse_keys(place.kms_file.read_text())
    assert keys == {name: {1: derived_key(CLUSTER_KEY, name)} for name in ("objstore-s3", "mine", "testkey-1")}
    assert place.kms_file.stat().st_mode & 0o777 == 0o600


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    held = {"objstore-s3": {3: b"x" * 32}}
    place.kms_file.write_text(render_keys(held))
    ensure_master_keys(place)
    assert parse_keys(place.kms_file.read_text())["objstore-s3"] == held["objstore-s3"]
    before = place.kms_file.stat().st_mtime_ns
    ensure_master_keys(place)
    assert place.kms_file.stat().st_mtime_ns == before


def test_no_file_is_made_where_the_keys_are_elsewhere(tmp_path: Path) -> None:
    place = place_in(tmp_path, cluster='[kms]\nkind = "vault"\n')
    ensure_master_keys(place)
    assert not place.kms_file.exists()


@pytest.mark.parametrize(
    ("identities", "cluster"), [('[[kms_key]]\nid = "a/b"\n', ""), ("", '[kms]\nstore_key = "a b"\n'), ("not toml", "")]
)
def test_names_that_are_none_are_told(tmp_path: Path, identities: str, cluster: str) -> None:
    with pytest.raises(ConfigError):
        ensure_master_keys(place_in(tmp_path, identities=identities, cluster=cluster))


def test_a_proxy_gets_the_service_that_the_settings_name(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    ensure_master_keys(place)
    world = memory_world()

    async def main() -> None:
        local = key_service(KmsSettings(), str(place.kms_file), world)
        assert local is not None
        data_key, wrapped = await local.new_key("objstore-s3", "")
        assert await local.open_key("objstore-s3", "", wrapped) == data_key
        assert key_service(KmsSettings(), "", world) is None
        token = tmp_path / "token"
        token.write_text("s.0123456789\n")
        assert key_service(KmsSettings(kind="vault", vault_url="http://127.0.0.1:1", vault_token_file=str(token)), "", world) is not None
        for bad in (
            KmsSettings(kind="other"),
            KmsSettings(kind="vault"),
            KmsSettings(kind="vault", vault_url="x", vault_token_file=str(token)),
        ):
            with pytest.raises(ConfigError):
                key_service(bad, "", world)
        place.kms_file.write_text("[[key]]")
        with pytest.raises(ConfigError):
            key_service(KmsSettings(), str(place.kms_file), world)

    asyncio.run(main())
