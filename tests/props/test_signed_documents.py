"""Forms, policies, tokens and parameters: whatever comes in, a value or a refusal comes out."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.core import sigv2
from objstore.core.post_policy import PolicyMalformed, PolicyViolated, check_form, parse_policy
from objstore.core.sigv4 import Received, SignatureRefused
from objstore.errors import ObjstoreError
from objstore.fronts.iam.call import parse_form
from objstore.fronts.s3.forms import Form, boundary_of
from objstore.identity.entities import IdentityRefused
from objstore.identity.tokens import TokenSealer
from objstore.identity.web_tokens import KeySet, WebTokenRefused, issuer_of
from objstore.runtime.rng import SystemRng
from tests.support.web_tokens import key_set

LINES = st.lists(
    st.sampled_from(
        [
            b"--XbX", b"--XbX--", b"\r\n", b"\r\n\r\n", b"\n", b"--", b"key", b"\xff", b'Content-Disposition: form-data; name="key"',
            b'Content-Disposition: form-data; name="file"; filename="f"', b"Content-Disposition: form-data", b"x" * 300, b"",
        ]
    ),
    max_size=20,
)  # fmt: skip


class Pieces:
    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def __aiter__(self) -> AsyncIterator[bytes]:
        async def give() -> AsyncIterator[bytes]:
            for at in range(0, len(self.data), self.size):
                yield self.data[at : at + self.size]

        return give()

    async def finish(self) -> dict[str, bytes]:
        return {}


def outcome(data: bytes, size: int) -> Any:
    async def run() -> Any:
        body: Any = Pieces(data, size)
        form = Form(body, b"XbX")
        await form.read_fields()
        content = b"".join([bytes(piece) async for piece in form])
        await form.finish()
        return form.fields, form.filename, content

    try:
        return asyncio.run(run())
    except ObjstoreError as failure:
        return type(failure).__name__


@settings(max_examples=150, deadline=None)
@given(LINES, st.integers(1, 40))
def test_a_form_is_read_or_refused_however_it_is_cut(lines: list[bytes], size: int) -> None:
    data = b"".join(lines)
    assert outcome(data, size) == outcome(data, len(data) or 1)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters='"\r\n\0'), min_size=1, max_size=8).map(str.lower),
        st.text(max_size=20),
        max_size=5,
    ),
    st.binary(max_size=200),
)
def test_what_a_browser_encodes_is_what_is_read(fields: dict[str, str], content: bytes) -> None:
    fields = {name: value for name, value in fields.items() if name != "file" and "--XbX" not in value and "%22" not in name}
    parts = [f'--XbX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode() for name, value in fields.items()]
    whole = b"".join(parts) + b'--XbX\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + content + b"\r\n--XbX--\r\n"
    found = outcome(whole, 7)
    if b"\r\n--XbX" not in content and all(name.strip() == name for name in fields):
        assert found == ({name.lower(): value for name, value in fields.items()}, "f", content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)
CONDITION = st.lists(
    st.sampled_from(["eq", "starts-with", "content-length-range", "$key", "$acl", "x", "5", 5, -1]), max_size=4
) | st.dictionaries(st.sampled_from(["key", "acl", "bucket"]), st.text(max_size=5), max_size=2)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(CONDITION | JSON, max_size=4),
    st.sampled_from(["2030-01-01T00:00:00Z", "2030-01-01", "", "x"]),
    st.dictionaries(st.sampled_from(["key", "acl", "bucket", "zzz"]), st.text(max_size=5)),
)
def test_a_policy_covers_every_field_or_refuses(conditions: list[Any], expiration: str, fields: dict[str, str]) -> None:
    text = base64.b64encode(json.dumps({"expiration": expiration, "conditions": conditions}).encode()).decode()
    try:
        policy = parse_policy(text)
        check_form(policy, fields, 0)
    except (PolicyMalformed, PolicyViolated):
        return
    assert set(fields) <= {condition.name for condition in policy.conditions}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.binary(max_size=60))
def test_parsers_refuse_and_never_fail(text: str, data: bytes) -> None:
    for header in (text, "AWS " + text, "AWS a:" + text):
        with contextlib.suppress(SignatureRefused):
            sigv2.parse_authorization(header)
    with contextlib.suppress(SignatureRefused):
        sigv2.parse_presigned([("AWSAccessKeyId", text), ("Signature", text), ("Expires", text)])
    query = data.decode("latin-1").replace("\n", "")
    assert sigv2.canonical_resources(Received("GET", "/" + query, query, {}))
    with contextlib.suppress(PolicyMalformed):
        parse_policy(text)
    with contextlib.suppress(IdentityRefused):
        parse_form(data)
    with contextlib.suppress(ObjstoreError):
        boundary_of("multipart/form-data" + data.decode("latin-1"))
    assert TokenSealer(bytes(32), SystemRng()).open(text) is None
    issuer_of(text)
    with contextlib.suppress(WebTokenRefused):
        KeySet(key_set()).verify(f"{text}.{text}.{text}", issuer="i", clients=("c",), now_s=0)
