"""The reference page speaks of every call that the SDK knows, and what it says is so."""

import re
from pathlib import Path

import botocore.session
import pytest

from tests.support.s3_raw import call
from tests.support.s3_server import Running

PAGE = Path(__file__).resolve().parents[4] / "docs" / "reference" / "s3.md"
ROWS = [
    (name.strip(), cells[1].strip())
    for line in PAGE.read_text().splitlines()
    if (cells := line.strip("| ").split("|"))[1:]
    for name in cells[0].split(",")
]
STANDINGS = {"works", "partly", "unset", "501"}
CALLS = {name: standing for name, standing in ROWS if re.fullmatch(r"[A-Z]\w+", name) and standing in STANDINGS}
MODEL = botocore.session.get_session().get_service_model("s3")


def test_every_call_is_on_the_page_once() -> None:
    names = [name for name, standing in ROWS if standing in STANDINGS and re.fullmatch(r"[A-Z]\w+", name)]
    assert sorted(names) == sorted(MODEL.operation_names)


@pytest.mark.parametrize("name", [name for name, standing in CALLS.items() if standing in ("501", "unset")])
def test_calls_answer_as_the_page_says(server: Running, s3: object, bucket: str, name: str) -> None:
    if name in ("ListDirectoryBuckets", "WriteGetObjectResponse"):
        return  # the one has no address of its own, the other is sent to another service
    http = MODEL.operation_model(name).http
    path = http["requestUri"].replace("{Bucket}", bucket).replace("{Key+}", "k")
    assert call(server, "PUT", f"/{bucket}/k", b"x").status == 200
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>" if name == "PutBucketVersioning" else b""
    status = call(server, http["method"], path, body).status
    assert status == 501 if CALLS[name] == "501" else status in (200, 204, 404)
