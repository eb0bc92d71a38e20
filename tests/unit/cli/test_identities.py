"""Identities files with providers of web identities."""

from pathlib import Path

import pytest

from objstore.cli.identities import read_identities
from objstore.errors import InvalidArgument
from tests.support.web_tokens import key_set

USER = '[[user]]\naccount = "a"\nname = "n"\naccess_key = "K"\nsecret_key = "S"\n'


def test_users_and_providers_are_read_with_their_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(key_set())
    file = tmp_path / "identities.toml"
    file.write_text(f'{USER}\n[[oidc_provider]]\naccount = "a"\nurl = "https://issuer/realm"\njwks_file = "{keys}"\nclient_ids = ["app"]\n')
    known = read_identities([str(file)])
    assert [user.name for user in known.users] == ["n"]
    assert [(found.arn, found.clients, found.keys) for found in known.providers] == [
        ("arn:aws:iam::a:oidc-provider/issuer/realm", ("app",), key_set())
    ]
    keys.write_text("{}")
    with pytest.raises(InvalidArgument, match="JSON Web Key Set"):
        read_identities([str(file)])


def test_keys_come_from_a_file_or_from_an_address(tmp_path: Path) -> None:
    file = tmp_path / "identities.toml"
    provider = '[[oidc_provider]]\naccount = "a"\nurl = "https://issuer"\n'
    file.write_text(provider + 'jwks_url = "https://issuer/keys?v=1"\n')
    known = read_identities([str(file)])
    assert known.key_addresses == {"arn:aws:iam::a:oidc-provider/issuer": "https://issuer/keys?v=1"}
    assert known.providers[0].keys == ""
    for bad in ("", 'jwks_url = "ftp://x"\n', 'jwks_url = "https://x"\njwks_file = "y"\n'):
        file.write_text(provider + bad)
        with pytest.raises(InvalidArgument):
            read_identities([str(file)])
