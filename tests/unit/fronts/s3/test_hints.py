"""Whoever is refused is told what to do, wherever there is something to do."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import objstore.fronts.s3 as front
from objstore.fronts.s3 import buckets, documents
from objstore.fronts.s3.errors import SIGNATURE_TABLE, TABLE, Row
from objstore.fronts.s3.hints import HINTS, SAID_BY_MESSAGE
from tests.support.s3_raw import call, send
from tests.support.s3_server import Running


@pytest.mark.parametrize("row", [*TABLE.values(), *SIGNATURE_TABLE.values()], ids=lambda row: row.code)
def test_every_refusal_of_the_tables_says_what_to_do(row: Row) -> None:
    assert row.hint or row.code in HINTS or row.code in SAID_BY_MESSAGE


def raised() -> Iterator[tuple[str, bool]]:
    """(code, whether it brings a hint of its own) of every S3Refused that the front raises by name."""
    for path in sorted(Path(front.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "S3Refused" and len(node.args) > 1:
                code = node.args[1]
                if isinstance(code, ast.Constant):
                    yield str(code.value), any(keyword.arg == "hint" for keyword in node.keywords)


def test_every_refusal_that_only_s3_knows_says_what_to_do() -> None:
    found = set(raised())
    assert len(found) > 30
    lost = {code for code, hinted in found if not hinted and code not in HINTS and code not in SAID_BY_MESSAGE}
    missing = {code for code, _ in (*documents.MISSING.values(), *buckets.UNSET.values())} - set(HINTS)
    assert (lost, missing) == (set(), set())


def test_a_hint_ends_as_a_sentence_and_is_no_longer_than_two() -> None:
    for code, hint in HINTS.items():
        assert hint[0].isupper(), code
        assert len(hint) <= 240, code


def test_clients_see_them(server: Running, s3: Any, bucket: str) -> None:
    assert "delete marker" in call(server, "GET", f"/{bucket}/none").value("Hint")
    assert "PutBucketCors" in call(server, "GET", f"/{bucket}?cors").value("Hint")
    assert "multipart" not in call(server, "PUT", f"/{bucket}/k", b"x", {"content-md5": "bad"}).value("Hint")
    stranger = send(server, "GET", f"/{bucket}", headers={"authorization": "AWS NOBODY:AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "date": "x"})
    assert stranger.value("Hint")
