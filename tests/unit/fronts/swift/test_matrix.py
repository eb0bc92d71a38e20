"""Who may do what, for every method there is at accounts, containers and objects: one without a row here fails.

Each is asked by nobody, by the owner of another account, by users that are in one list each, by the owner and by a reseller's
administrator.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from objstore.fronts.swift import app
from objstore.identity.model import SwiftUser
from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, RESELLER, TESTER, Reply, Swift, swift_serving

READER, WRITER, BOTH, GUEST, EDITOR, DEPUTY = (
    SwiftUser("friends", name, "key") for name in ("reader", "writer", "both", "guest", "editor", "deputy")
)
CALLERS = {user.user: user for user in (OTHER, MEMBER, READER, WRITER, BOTH, GUEST, EDITOR, DEPUTY, TESTER, RESELLER)}
OWNERS = {"deputy", "tester", "admin"}  # whom the account's list makes administrators, the owner, the reseller
WRITES_ALL = OWNERS | {"editor"}
READS_ALL = WRITES_ALL | {"guest"}
READS = READS_ALL | {"reader", "both"}
WRITES = WRITES_ALL | {"writer", "both"}


@dataclass(frozen=True)
class Row:
    """How a method is asked, and who may."""

    may: frozenset[str] | set[str]
    name: str = "{box}/o"
    headers: dict[str, str] = field(default_factory=dict)
    query: str = ""
    body: bytes | None = None


SLO = b'[{"path": "{box}/o"}]'
ROWS = {
    ("ACCOUNT", "GET"): Row(READS_ALL, ""),
    ("ACCOUNT", "HEAD"): Row(READS_ALL, ""),
    ("ACCOUNT", "POST"): Row(OWNERS, "", {"X-Account-Meta-Colour": "red"}),
    ("CONTAINER", "GET"): Row(READS, "{box}"),
    ("CONTAINER", "HEAD"): Row(READS, "{box}"),
    ("CONTAINER", "PUT"): Row(WRITES_ALL, "{box}-new"),
    ("CONTAINER", "POST"): Row(WRITES_ALL, "{box}", {"X-Container-Meta-Colour": "red"}),
    ("CONTAINER", "DELETE"): Row(WRITES_ALL, "{box}-empty"),
    ("OBJECT", "GET"): Row(READS),
    ("OBJECT", "HEAD"): Row(READS),
    ("OBJECT", "PUT"): Row(WRITES, "{box}/new", body=b"x"),
    ("OBJECT", "POST"): Row(WRITES, headers={"X-Object-Meta-A": "1"}),
    ("OBJECT", "DELETE"): Row(WRITES),
    ("OBJECT", "COPY"): Row(READS & WRITES, headers={"Destination": "{box}/copy"}),
    # What else the same methods do.
    ("also", "lists of versions"): Row(READS, "{box}", query="versions"),
    ("also", "PUT with X-Copy-From"): Row(READS & WRITES, "{box}/new", {"X-Copy-From": "{box}/o"}, body=b""),
    ("also", "PUT of a list of segments"): Row(READS & WRITES, "{box}/new", query="multipart-manifest=put", body=SLO),
    ("also", "GET of a dynamic large object"): Row(READS, "{box}/dlo"),
    ("also", "GET of a segment"): Row(READS, "{box}/slo", query="part-number=1"),
    ("also", "GET of a list of segments"): Row(READS, "{box}/slo", query="multipart-manifest=get"),
    ("also", "lists set by POST"): Row(OWNERS, "{box}", {"X-Container-Read": ".r:*"}),
    ("also", "keys set by POST"): Row(OWNERS, "{box}", {"X-Container-Meta-Temp-Url-Key": "k"}),
    ("also", "versions switched on"): Row(WRITES_ALL, "{box}", {"X-Versions-Enabled": "true"}),
}
METHODS = {"lists of versions": "GET"} | {f"GET of a {what}": "GET" for what in ("dynamic large object", "segment", "list of segments")}
STRIPPED = {"lists set by POST", "keys set by POST"}  # which writers by the account's list are not told of, as in Swift: it is not done


def test_every_method_has_a_row() -> None:
    known = {(table, method) for table in ("ACCOUNT", "CONTAINER", "OBJECT") for method in getattr(app, table)}
    assert known == {row for row in ROWS if row[0] != "also"}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with swift_serving(users=(READER, WRITER, BOTH, GUEST, EDITOR, DEPUTY)) as found:
        owner = Swift(found)
        acl = '{"read-only": ["friends:guest"], "read-write": ["friends:editor"], "admin": ["friends:deputy"]}'
        assert owner("POST", X_Account_Access_Control=acl).status == 204
        yield found


@pytest.fixture(scope="module")
def callers(running: Running) -> dict[str, Swift]:
    return {"nobody": Swift(running, None), **{name: Swift(running, user).at("test") for name, user in CALLERS.items()}}


def ask(caller: Swift, what: tuple[str, str], box: str) -> Reply:
    row = ROWS[what]
    method = what[1] if what[0] != "also" else METHODS.get(what[1], "POST" if row.name == "{box}" else "PUT")
    headers = {name.replace("-", "_"): value.replace("{box}", box) for name, value in row.headers.items()}
    body = row.body and row.body.replace(b"{box}", box.encode())
    return caller(method, row.name.replace("{box}", box), body, row.query, **headers)


def prepare(owner: Swift, box: str) -> None:
    read, write = "friends:reader,friends:both", "friends:writer,friends:both"
    assert owner("PUT", box, X_Container_Read=read, X_Container_Write=write).status == 201
    assert owner("PUT", f"{box}-empty").status == 201
    assert owner("PUT", f"{box}/o", b"data").status == 201
    assert owner("PUT", f"{box}/slo", SLO.replace(b"{box}", box.encode()), "multipart-manifest=put").status == 201
    assert owner("PUT", f"{box}/dlo", b"", X_Object_Manifest=f"{box}/o").status == 201


@pytest.mark.parametrize("what", ROWS, ids=" ".join)
def test_a_method_serves_whom_its_row_names_and_nobody_else(callers: dict[str, Swift], what: tuple[str, str]) -> None:
    for number, (name, caller) in enumerate(callers.items()):
        box = f"{what[0]}-{what[1]}-{number}".replace(" ", "-").lower()
        prepare(callers["tester"], box)
        reply = ask(caller, what, box)
        if name == "editor" and what[1] in STRIPPED:
            headers = callers["tester"]("HEAD", box).headers
            assert ("x-container-meta-temp-url-key" in headers, headers["x-container-read"].startswith("friends")) == (False, True)
        elif name in ROWS[what].may:
            assert reply.status < 300, (name, reply)
        elif name == "writer" and what[1] == "PUT of a list of segments":
            assert (reply.status, b"403 Forbidden" in reply.body) == (400, True)  # which of its segments he may not read is told
        else:
            assert reply.status == (401 if name == "nobody" else 403), (name, reply)


def test_a_large_object_goes_with_its_segments_for_who_may_delete_them(callers: dict[str, Swift]) -> None:
    for name, caller in callers.items():
        box = f"large-{name}"
        prepare(callers["tester"], box)
        caller("DELETE", f"{box}/slo", None, "multipart-manifest=delete")
        gone = [callers["tester"]("HEAD", f"{box}/{key}").status == 404 for key in ("slo", "o")]
        assert gone == [name in READS & WRITES] * 2, name


def test_bulk_deletes_need_the_right_to_each_object(callers: dict[str, Swift]) -> None:
    for name, caller in callers.items():
        box = f"bulk-{name}"
        prepare(callers["tester"], box)
        reply = caller("POST", "", f"{box}/o\n{box}-empty\n".encode(), "bulk-delete", Accept="application/json")
        if name == "nobody":
            assert reply.status == 401
            continue
        deleted = reply.json["Number Deleted"]
        assert deleted == (2 if name in WRITES_ALL else 1 if name in WRITES else 0), (name, reply)
