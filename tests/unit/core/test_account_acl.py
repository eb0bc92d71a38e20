"""Access control lists of accounts: what is taken, who is in one."""

import pytest

from objstore.core.account_acl import ADMIN, MAX_ACL_CHARS, READ_ONLY, READ_WRITE, covers, level_of, parse_account_acl, shown_account_acl
from objstore.errors import InvalidArgument


def test_a_list_is_kept_without_empty_levels_and_doubles() -> None:
    acl = parse_account_acl('{"read-only": ["b", "a:x", "b"], "admin": [], "read-write": ["ü:ö"]}')
    assert acl == {"read-only": ["b", "a:x"], "read-write": ["ü:ö"]}
    assert shown_account_acl(acl) == '{"read-only":["b","a:x"],"read-write":["\\u00fc:\\u00f6"]}'
    assert parse_account_acl(shown_account_acl(acl)) == acl
    assert parse_account_acl(" ") == parse_account_acl("{}") == {}


@pytest.mark.parametrize(
    "text",
    ["[]", "1", "null", "{", '{"other": []}', '{"admin": "a"}', '{"admin": [1]}', '{"admin": [""]}', '{"admin": ["a\\nb"]}', '{"admin": [null]}',
     "[" * 8000, '{"admin": ["' + "x" * 600 + '"]}', " " * (MAX_ACL_CHARS + 1), "\ud800", '{"admin": ["\\ud800"]}', "NaN"],
)  # fmt: skip
def test_whatever_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_account_acl(text)


def test_the_highest_level_counts_and_there_are_no_wildcards() -> None:
    acl = {"read-only": ["them"], "read-write": ["them:anna"], "admin": ["*", "*:*", "them:*", ""]}
    assert level_of(acl, ("them",), ("anna",)) == READ_WRITE
    assert level_of(acl, ("them",), ("bert",)) == READ_ONLY
    assert level_of(acl, ("id", "them"), ("u1", "anna", "")) == READ_WRITE
    assert level_of(acl, ("others", ""), ("anna", "")) == ""


def test_levels_lie_in_order() -> None:
    assert covers(ADMIN, READ_ONLY)
    assert covers(READ_WRITE, READ_WRITE)
    assert not covers(READ_ONLY, READ_WRITE)
    assert not covers("", READ_ONLY)
