"""Reading bodies by what resources are made of."""

from typing import Any

import pytest

from objstore.services.network import checks, groups
from objstore.services.network.kinds import REQUIRED, UNSET, Attribute, Kind, bodies, parse_change, parse_new, project_attribute
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.records import Who
from objstore.services.network.tables import GROUPS

ALICE, ADMIN = Who("a"), Who("adm", admin=True)
KIND = Kind(
    "thing", "things", "things", GROUPS, "Thing", "Thing",
    (
        project_attribute(), Attribute("need", checks.text, REQUIRED), Attribute("maybe", checks.boolean), Attribute("fixed", checks.text, "f", put=False),
        Attribute("a:b", checks.boolean, default=False, column="ab", admin=True),
    ),
    read_only=("id",),
)  # fmt: skip


def test_a_new_thing_has_what_was_said_and_defaults() -> None:
    assert parse_new(KIND, {"need": "n"}, ALICE) == {"project": "a", "need": "n", "maybe": UNSET, "fixed": "f", "ab": False}
    assert parse_new(KIND, {"need": "n", "a:b": "true", "tenant_id": "x", "project_id": "x"}, ADMIN)["project"] == "x"
    assert parse_change(KIND, {"maybe": 1}, ALICE) == {"maybe": True}


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ([], 400), ({}, 400), ({"need": 1}, 400), ({"need": "n", "id": "x"}, 400), ({"need": "n", "odd": 1}, 400), ({"need": "n", "a:b": True}, 403),
        ({"need": "n", "project_id": "b"}, 403), ({"need": "n", "project_id": "b", "tenant_id": "a"}, 400),
    ],
)  # fmt: skip
def test_what_may_not_be_said_is_refused(given: Any, status: int) -> None:
    with pytest.raises(NetworkRefused) as failure:
        parse_new(KIND, given, ALICE)
    assert failure.value.status == status


@pytest.mark.parametrize(
    ("given", "status"), [({"fixed": "g"}, 400), ({"id": "x"}, 400), ({"a:b": True}, 403), (None, 400), ({"project_id": "a"}, 400)]
)
def test_what_may_not_change_is_refused(given: Any, status: int) -> None:
    with pytest.raises(NetworkRefused) as failure:
        parse_change(KIND, given, ALICE)
    assert failure.value.status == status


def test_bodies_hold_one_thing_or_a_list() -> None:
    assert bodies(KIND, {"thing": {"need": "n"}}, 2) == ([{"need": "n"}], False)
    assert bodies(KIND, {"things": [{"need": "n"}]}, 2) == ([{"need": "n"}], True)
    for document in (
        [],
        {},
        {"things": []},
        {"things": [{}, {}, {}]},
        {"things": 1},
        {"things": [{"thing": {}}]},
        {"thing": {}, "more": 1},
    ):
        with pytest.raises(NetworkRefused):
            bodies(KIND, document, 2)


def test_a_project_is_needed() -> None:
    with pytest.raises(NetworkRefused):
        parse_new(KIND, {"need": "n"}, Who("", admin=True))
    assert groups.KIND.not_found("x").kind == "SecurityGroupNotFound"
