"""Roles, scopes, and what they allow."""

import pytest

from objstore.identity.bearer import Bearer
from objstore.identity.rules import Access, expanded, may_assign, may_change, may_read, path_matches, rule_allows, s3_rights
from objstore.identity.tenancy import AccessRule, Domain, Person, Project, Role

HOME = Domain(1, "home", "Home")


def access(*names: str, scope: str = "") -> Access:
    kind, _, id_ = scope.partition(":")
    return Access(
        Bearer(1, "u", (), scope, 0, 0, ()), Person(1, "u", "joe", "home"), HOME, tuple(Role(1, n, n) for n in names),
        Project(1, id_, id_, "home") if kind == "p" else None, HOME if kind == "p" else None, Domain(1, id_, id_) if kind == "d" else None,
    )  # fmt: skip


def test_implied_roles_come_along_and_circles_end() -> None:
    assert expanded(["a", "c"], {"a": ["b"], "b": ["c", "a"]}) == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("who", "reads_home", "changes_home", "reads_other"),
    [
        (access("admin", scope="p:x"), True, True, True),
        (access("reader", scope="s"), True, False, True),
        (access("manager", "member", "reader", scope="d:home"), True, True, False),
        (access("member", "reader", scope="d:home"), True, False, False),
        (access("manager", "reader", scope="p:x"), False, False, False),
        (access(), False, False, False),
    ],
)
def test_rules_by_role_and_scope(who: Access, *, reads_home: bool, changes_home: bool, reads_other: bool) -> None:
    assert may_read(who, domain_id="home") == reads_home
    assert may_change(who, domain_id="home") == changes_home
    assert may_read(who, domain_id="other") == reads_other
    assert may_change(who, domain_id="other") == who.is_admin
    assert may_read(who, user_id="u")
    assert may_change(who, user_id="u")
    assert may_read(who, user_id="v") == may_read(who)
    assert may_read(who, user_id="") == may_read(who)


def test_a_project_is_seen_from_itself() -> None:
    assert may_read(access("member", scope="p:x"), project_id="x")
    assert not may_read(access("member", scope="p:x"), project_id="y")


def test_managers_give_no_more_than_their_own_kind_and_only_at_home() -> None:
    boss, admin = access("manager", scope="d:home"), access("admin", scope="p:x")
    member, root = Role(1, "m", "member"), Role(1, "a", "admin")
    assert may_assign(boss, member, "home", "home")
    assert not may_assign(boss, root, "home", "home")
    assert not may_assign(boss, Role(1, "m", "member", "home"), "home", "home")
    assert not may_assign(boss, member, "other", "home")
    assert not may_assign(boss, member, "home", "other")
    assert not may_assign(boss, member, "", "")
    assert not may_assign(access("member", scope="d:home"), member, "home", "home")
    assert may_assign(admin, root, "home", "other")


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/v3/users", "/v3/users", True),
        ("/v3/users/*", "/v3/users/x", True),
        ("/v3/users/*", "/v3/users/x/y", False),
        ("/v3/users/*", "/v3/users/", False),
        ("/v3/users/{id}/projects", "/v3/users/x/projects", True),
        ("/v3/**", "/v3/a/b/c", True),
        ("/**/z", "/a/b/z", True),
        ("/**/z", "/a/b/y", False),
        ("/v3/us*", "/v3/users", False),
        ("**", "/anything", True),
    ],
)
def test_paths_of_access_rules(pattern: str, path: str, *, fits: bool) -> None:
    assert path_matches(pattern, path) is fits


def test_hostile_patterns_take_no_time() -> None:
    assert not path_matches("/**/a" * 25, "/a" * 4000 + "/b")


def test_a_rule_names_service_method_and_path() -> None:
    rules = [AccessRule(1, "r", service="identity", method="GET", path="/v3/users")]
    assert rule_allows(rules, "identity", "GET", "/v3/users")
    assert not rule_allows(rules, "identity", "POST", "/v3/users")
    assert not rule_allows(rules, "image", "GET", "/v3/users")
    assert not rule_allows([], "identity", "GET", "/v3/users")


def test_rights_of_keys_by_role() -> None:
    assert [s3_rights([name]) for name in ("admin", "manager", "member", "reader", "other")] == ["full", "full", "objects", "read", ""]
    assert s3_rights([]) == ""
