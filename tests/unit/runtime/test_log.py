"""Logs: one JSON object a line, and no credential in any of them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from objstore.runtime import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raising


def test_a_line_is_one_json_object_with_its_extras(stream: io.StringIO) -> None:
    log.set_up("node1", stream=stream)
    logging.getLogger("objstore.trial").warning("lost %d of %d", 1, 3, extra={"partition": 7, "why": [1]})
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "warning", "process": "node1", "logger": "objstore.trial", "message": "lost 1 of 3", "partition": 7, "why": "[1]",
    }  # fmt: skip


def test_a_traceback_stays_on_the_line_and_is_redacted(stream: io.StringIO) -> None:
    log.set_up("node1", stream=stream)
    try:
        raise ValueError("X-Amz-Signature=abcdef0123 was wrong")
    except ValueError:
        logging.getLogger("t").exception("failed")
    [line] = stream.getvalue().splitlines()
    assert "ValueError" in json.loads(line)["traceback"]
    assert "abcdef0123" not in line


def test_the_level_cuts_off_what_is_below(stream: io.StringIO) -> None:
    log.set_up("x", level="warning", style="text", stream=stream)
    logging.getLogger("t").info("quiet")
    logging.getLogger("t").error("loud")
    assert "quiet" not in stream.getvalue()
    assert " x ERROR t: loud" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request, Signature=S3CR3TVALUE",
        "{'authorization': 'AWS4-HMAC-SHA256 Credential=x, Signature=S3CR3TVALUE'}",
        "(b'authorization', b'AWS4 S3CR3TVALUE')",
        "{'x-auth-key': 'S3CR3TVALUE', 'x-auth-user': 'a:b'}",
        "X-Storage-Pass: S3CR3TVALUE",
        "(b'x-service-token', b'S3CR3TVALUE')",
        "X-Container-Meta-Temp-URL-Key-2: S3CR3TVALUE",
        "{'x-container-sync-key': 'S3CR3TVALUE'}",
        "X-Container-Sync-Auth: realm nonce S3CR3TVALUE",
        "{'openstack-auth-receipt': 'S3CR3TVALUE'}",
        "{'passcode': 'S3CR3TVALUE'}",
        "GET /b/k?X-Amz-Algorithm=A&X-Amz-Signature=S3CR3TVALUE&x=1 403",
        "Target(url='amqps://me:S3CR3TVALUE@host:5671/v?routing_key=q')",
        "GET /v1/AUTH_a/c/o?temp_url_sig=S3CR3TVALUE&temp_url_expires=1",
        "X-Auth-Token: S3CR3TVALUE",
        "x-amz-security-token=S3CR3TVALUE",
        'secret_key = "S3CR3TVALUE"',
        '"password": "S3CR3TVALUE"',
        "cluster_key=S3CR3TVALUE",
        "x-amz-server-side-encryption-customer-key: S3CR3TVALUE",
    ],
)
def test_credentials_are_taken_out(text: str) -> None:
    assert "S3CR3TVALUE" not in log.redact(text)
    assert log.REDACTED in log.redact(text)


@pytest.mark.parametrize("text", ["bucket photos has 3 tokens left", "secretary: Ada", "GET /b/authorization.txt 200", "key=photos/a.jpg"])
def test_ordinary_words_stay(text: str) -> None:
    assert log.redact(text) == text


def test_a_hidden_string_never_appears_and_short_ones_are_left_alone() -> None:
    log.hide("0123456789abcdef-trial")
    log.hide("the")
    assert log.redact("key 0123456789abcdef-trial in the log") == f"key {log.REDACTED} in the log"


def test_unknown_levels_and_styles_are_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        log.set_up("x", level="loud")
    with pytest.raises(ValueError, match="xml"):
        log.set_up("x", style="xml")
