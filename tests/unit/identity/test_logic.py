"""Credentials and the identities file."""

import pytest

from objstore.errors import InvalidArgument
from objstore.identity.logic import Credentials, canonical_id_of, parse_identities
from objstore.identity.model import User

FILE = """
[[user]]
account = "a"
name = "ann"
access_key = "K1"
secret_key = "S1"
tenant = "t"
canonical_id = "c1"
display_name = "Ann"
email = "ann@example.com"
admin = true

[[user]]
account = "b"
name = "bob"
access_key = "K2"
secret_key = "S2"

[[swift_user]]
account = "b"
user = "tester"
key = "testing"
groups = [".admin"]

[[kms_key]]
id = "key-1"
"""


def test_an_identities_file_gives_users_swift_users_and_keys() -> None:
    identities = parse_identities(FILE)
    assert [user.name for user in identities.user] == ["ann", "bob"]
    assert identities.swift_user[0].groups == (".admin",)
    assert identities.kms_key[0].id == "key-1"


def test_an_access_key_leads_to_secret_and_principal() -> None:
    credentials = Credentials(parse_identities(FILE).user)
    found = credentials.lookup("K1")
    assert found is not None
    secret, principal = found
    assert secret == "S1"
    assert (principal.account, principal.user, principal.tenant, principal.canonical_id, principal.admin) == ("a", "ann", "t", "c1", True)
    assert credentials.lookup("K3") is None


def test_what_a_user_leaves_out_comes_from_the_account() -> None:
    found = Credentials(parse_identities(FILE).user).lookup("K2")
    assert found is not None
    assert (found[1].canonical_id, found[1].display_name, found[1].tenant, found[1].admin) == (canonical_id_of("b"), "b", "default", False)


def test_an_account_is_shown_as_its_first_user_says_and_unknown_ones_have_an_id_too() -> None:
    credentials = Credentials(parse_identities(FILE).user)
    assert credentials.owner_of("a").canonical_id == "c1"
    assert credentials.owner_of("nobody").canonical_id == canonical_id_of("nobody")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[user]]\naccount='a'\nname='n'\nacess_key='k'\nsecret_key='s'", "did you mean 'access_key'"),
        ("[[users]]\naccount='a'", "did you mean 'user'"),
        ("[[zzz]]\naccount='a'", "known are user, swift_user, kms_key, oidc_provider"),
        ("[user]\naccount='a'", "write [[user]]"),
        ("user = [1]", "write [[user]]"),
        ("[[user]]\naccount='a'", "missing required field"),
        ("[[user]]\naccount=1\nname='n'\naccess_key='k'\nsecret_key='s'", "Expected `str`"),
        ("[[user", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_do(text: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said.replace("[", r"\[").replace("]", r"\]")):
        parse_identities(text)


def test_access_keys_are_unique_and_never_empty() -> None:
    user = User("a", "n", "k", "s")
    with pytest.raises(InvalidArgument, match="two users"):
        Credentials([user, user])
    with pytest.raises(InvalidArgument, match="empty"):
        Credentials([User("a", "n", "k", "")])
