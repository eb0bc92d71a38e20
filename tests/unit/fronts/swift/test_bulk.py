"""Bulk delete."""

from tests.support.s3_server import Running
from tests.support.swift_server import MEMBER, OTHER, Swift


def test_many_go_by_one_request_and_each_is_told(swift: Swift, box: str) -> None:
    for name in ("a", "b/c", "ö x"):
        swift("PUT", f"{box}/{name}", b"x")
    body = f"/{box}/a\n{box}/b%2Fc\n\n{box}/%C3%B6%20x\n{box}/none\nnowhere/x\n{box}\n".encode()
    reply = swift("POST", "", body, query="bulk-delete", Accept="application/json")
    assert reply.status == 200
    assert reply.json == {"Response Status": "200 OK", "Response Body": "", "Number Deleted": 4, "Number Not Found": 2, "Errors": []}
    assert swift("HEAD", box).status == 404


def test_names_may_come_as_they_are(swift: Swift, box: str) -> None:
    """Percent-encoded or not, as Swift takes them; what was not there to be deleted is no failure."""
    for name in ("ö", "Ã¶"):
        swift("PUT", f"{box}/{name}", b"x")
    body = f"{box}/ö\n".encode()
    reply = swift("POST", "", body, query="bulk-delete", Accept="application/json").json
    assert (reply["Number Deleted"], swift("GET", box).lines) == (1, ["Ã¶"])
    reply = swift("POST", "", body, query="bulk-delete", Accept="application/json").json
    assert (reply["Number Not Found"], reply["Response Status"]) == (1, "200 OK")


def test_strangers_are_not_told_which_containers_there_are(running: Running, swift: Swift, box: str) -> None:
    """S21."""
    stranger = Swift(running, OTHER).at("test")
    reply = stranger("POST", "", f"{box}/x\nnowhere/x\n".encode(), query="bulk-delete", Accept="application/json").json
    assert sorted(reply["Errors"]) == sorted([[f"{box}/x", "403 Forbidden"], ["nowhere/x", "403 Forbidden"]])


def test_what_could_not_be_deleted_is_named(running: Running, swift: Swift, box: str) -> None:
    swift("PUT", f"{box}/a", b"x")
    reply = swift("POST", "", f"{box}\n".encode(), query="bulk-delete", Accept="application/json").json
    assert (reply["Response Status"], reply["Errors"]) == ("400 Bad Request", [[box, "409 Conflict"]])
    reply = Swift(running, MEMBER)("DELETE", "", f"{box}/a\n".encode(), query="bulk-delete", Accept="application/json").json
    assert reply["Errors"] == [[f"{box}/a", "403 Forbidden"]]
    assert b"<number_deleted>0</number_deleted>" in swift("POST", "", b"none/x", query="bulk-delete", Accept="text/xml").body


def test_nothing_at_all_and_too_much_are_refused(swift: Swift) -> None:
    assert b"400 Bad Request" in swift("POST", "", b"", query="bulk-delete").body
    assert swift("POST", "", b"a/b\n" * 10_001, query="bulk-delete").status == 413


def test_nobodys_list_of_names_is_read(running: Running, box: str) -> None:
    stranger = Swift(running, None)
    assert stranger("POST", "", f"{box}/o".encode(), query="bulk-delete").status == 401
    assert stranger("DELETE", box, f"{box}/o".encode(), query="bulk-delete").status == 401
