"""What is there from the start, and how records are named."""

from objstore.identity.model import User
from objstore.identity.tenancy import KINDS, Endpoint, Grant, Person, Place, Project, Role, built_in, slot

ROOT = User("admin", "admin", "AK1", "s", admin=True)
JOE = User("acme", "joe", "AK2", "s")
JOE_AGAIN = User("acme", "joe", "AK3", "s")
OTHER_JOE = User("evil corp/x", "joe", "AK4", "s")


def test_accounts_and_users_of_the_file_are_projects_and_users_with_their_roles() -> None:
    found = built_in([ROOT, JOE, JOE_AGAIN, OTHER_JOE], passwords={"admin/admin": "hash"})
    assert [p.id for p in found if isinstance(p, Project)] == ["admin", "acme", "evil corp/x"]
    people = {p.name: p for p in found if isinstance(p, Person)}
    assert list(people) == ["admin", "joe", "evil corp/x:joe"]
    assert people["admin"].password == "hash"
    roles = {r.id: r.name for r in found if isinstance(r, Role)}
    grants = [(g.actor[2:], g.target, *(roles[r] for r in g.roles)) for g in found if isinstance(g, Grant)]
    assert (people["joe"].id, "p:acme", "manager") in grants
    assert [g for g in grants if g[0] == people["admin"].id] == [
        (people["admin"].id, "p:admin", "admin"),
        (people["admin"].id, "s", "admin"),
        (people["admin"].id, "d:default", "admin"),
    ]
    assert built_in([ROOT]) == built_in([ROOT])
    assert len({(type(v), v.record) for v in found}) == len(found)


def test_the_catalog_has_three_interfaces_for_each_service() -> None:
    found = built_in([], region="r", catalog=[Place("s3", "s3", "http://x")])
    assert [(e.interface, e.url, e.region_id) for e in found if isinstance(e, Endpoint)] == [
        (interface, "http://x", "r") for interface in ("public", "internal", "admin")
    ]


def test_names_that_would_not_fit_into_a_record_are_there_by_digest() -> None:
    assert slot("Team A") == "Team A"
    for odd in ("", "a/b", "x" * 300, "naïve", "#x", "a\x00b", "\ud800"):
        assert slot(odd).startswith("#")
        assert len(slot(odd)) == 65
    assert Project(1, "i", "a/b", "d").record != Project(1, "i", "a", "d/b").record


def test_secrets_are_not_shown() -> None:
    for struct in KINDS.values():
        text = repr(struct(1, "id"))
        assert "password" not in text
        assert "secret" not in text or "secret=''" in text
        assert "sealed=b'x" not in text
