"""What a trust is worth, from tables of a few lines."""

from collections.abc import Iterable

from objstore.identity.tenancy import AppCredential, Person, Role, Trust
from objstore.identity.trusts import MAX_LINE, lent_roles, trust_line


class Few:
    """Trusts by id; everybody has the same roles, and none implies another."""

    def __init__(self, *trusts: Trust, roles: str = "abc") -> None:
        self._trusts = {trust.id: trust for trust in trusts}
        self._roles = [Role(1, name, name) for name in roles]

    def get(self, struct: type[Trust], id_: str) -> Trust | None:
        return self._trusts.get(id_)

    def person(self, id_: str) -> Person | None:
        return Person(1, id_) if id_ == "joe" else None

    def app_credential(self, id_: str) -> AppCredential | None:
        return AppCredential(1, id_, roles=("a",), project_id="p") if id_ == "program" else None

    def roles_on(self, user: Person, target: str) -> list[Role]:
        return self._roles

    def within(self, allowed: Iterable[str], roles: list[Role]) -> list[Role]:
        return [role for role in roles if role.id in set(allowed)]


def _trust(id_: str, roles: str, parent: str = "", *, trustor: str = "joe", program: str = "", project: str = "p") -> Trust:
    return Trust(1, id_, trustor_id=trustor, project_id=project, roles=tuple(roles), parent_id=parent, app_credential_id=program)


def _names(tables: Few, trust: Trust) -> str:
    return "".join(role.id for role in lent_roles(tables, trust))


def test_a_trust_is_worth_what_all_above_it_allow() -> None:
    top, middle, low = _trust("t", "abc"), _trust("m", "ab", "t"), _trust("l", "abc", "m")
    tables = Few(top, middle, low)
    assert trust_line(tables, low) == [low, middle, top]
    assert [_names(tables, trust) for trust in (top, middle, low)] == ["abc", "ab", "ab"]


def test_it_is_worth_nothing_when_something_of_it_is_gone() -> None:
    trust = _trust("t", "ab")
    assert _names(Few(trust, roles="a"), trust) == ""  # one of what was lent is lost
    assert _names(Few(), _trust("l", "a", "t")) == ""  # what it was lent on from
    assert _names(Few(), _trust("t", "a", trustor="gone")) == ""
    assert _names(Few(), _trust("t", "a", program="gone")) == ""
    assert _names(Few(), _trust("t", "ab", program="program")) == "a"
    assert _names(Few(), _trust("t", "ab", program="program", project="other")) == ""  # it is for another project


def test_a_line_ends_also_when_its_records_are_damaged() -> None:
    circle = [_trust("a", "a", "b"), _trust("b", "a", "a")]
    assert trust_line(Few(*circle), circle[0]) == []
    line = [_trust(f"t{n}", "a", f"t{n + 1}" if n < MAX_LINE else "") for n in range(MAX_LINE + 1)]
    assert trust_line(Few(*line), line[0]) == []
    assert len(trust_line(Few(*line), line[1])) == MAX_LINE
