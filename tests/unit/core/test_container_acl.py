"""Lists of Swift containers: their normal form, and whom they let in."""

import pytest

from objstore.core.container_acl import MAX_ACL_CHARS, lets_referrer, lets_user, normal_acl, parse_acl
from objstore.errors import InvalidArgument

READ, WRITE = "X-Container-Read", "X-Container-Write"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        (" .r : * , .rlistings", ".r:*,.rlistings"),
        (".referrer:*.Example.com", ".r:.example.com"),
        (".ref: - evil.example", ".r:-evil.example"),
        ("bob, account : sue,,*:*", "bob,account:sue,*:*"),
        ("account:, :bob, :", "account:,:bob,:"),
    ],
)
def test_a_list_is_kept_in_its_normal_form(given: str, kept: str) -> None:
    assert normal_acl(READ, given) == kept
    assert normal_acl(READ, kept) == kept


@pytest.mark.parametrize("given", [".r:", ".r:-", ".r:*.", ".unknown", ".x:y", "a" * (MAX_ACL_CHARS + 1)])
def test_what_is_no_list_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument):
        normal_acl(READ, given)


def test_referrers_cannot_write() -> None:
    with pytest.raises(InvalidArgument):
        normal_acl(WRITE, ".r:*")
    assert normal_acl(WRITE, "a:b") == "a:b"


@pytest.mark.parametrize(
    ("acl", "referrer", "let_in"),
    [
        ("", "http://a.example/", False),
        (".r:*", None, True),
        (".r:*,.r:-.evil.example", "http://x.evil.example/page", False),
        (".r:-.evil.example,.r:*", "http://x.evil.example/page", True),
        (".r:.example.com", "https://www.Example.com/p?q", True),
        (".r:.example.com", "https://example.org/", False),
        (".r:www.example.com", None, False),
        (".r:*,.r:-x", "http://[bad", True),
        ("bob", "http://a.example/", False),
    ],
)
def test_the_last_referrer_that_fits_decides(acl: str, referrer: str | None, let_in: bool) -> None:
    assert lets_referrer(parse_acl(normal_acl(READ, acl)), referrer) is let_in


@pytest.mark.parametrize(
    ("acl", "accounts", "users", "let_in"),
    [
        ("acc", ["acc"], ["bob"], True),
        ("acc:bob", ["acc"], ["bob"], True),
        ("acc:bob", ["acc"], ["sue"], False),
        ("acc:*", ["acc"], ["sue"], True),
        ("*:bob", ["other"], ["bob"], True),
        ("*:*", ["other"], ["x"], True),
        ("*", ["other"], ["x"], True),
        (".r:*", ["acc"], ["bob"], False),
        ("", ["acc"], ["bob"], False),
        ("id1:id2", ["acc", "id1"], ["bob", "id2"], True),
        ("acc:", ["acc", ""], ["bob", ""], False),
        (":bob", ["acc", ""], ["bob", ""], False),
        ("x,:", ["acc", ""], ["bob", ""], False),
        ("*:", ["acc", ""], ["bob", ""], False),
    ],
)
def test_users_are_named_by_account_and_name(acl: str, accounts: list[str], users: list[str], let_in: bool) -> None:
    assert lets_user(parse_acl(normal_acl(READ, acl)), accounts, users) is let_in


def test_an_empty_entry_of_an_older_release_lets_nobody_in() -> None:
    assert not lets_user(parse_acl("x,"), ["acc", ""], ["bob", ""])


@pytest.mark.parametrize("acl", ["*", "*:*", "*:bob"])
def test_what_is_for_users_of_all_accounts_is_public(acl: str) -> None:
    assert parse_acl(acl).is_public
    assert not lets_user(parse_acl(acl), ["acc"], ["bob"], restricted=True)
    assert lets_user(parse_acl(f"{acl},acc:bob"), ["acc"], ["bob"], restricted=True)


def test_what_lets_everybody_in_is_public() -> None:
    assert parse_acl(".r:*").is_public
    assert parse_acl(".r:.example.com").is_public
    assert not parse_acl(".r:-.example.com,acc:bob").is_public
