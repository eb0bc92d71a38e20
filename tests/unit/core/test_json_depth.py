"""Depth of JSON before it is parsed."""

import pytest

from objstore.core.json_depth import check_depth


@pytest.mark.parametrize(
    "document", [b'{"a": [1, {"b": 2}]}', b'{"a": "[[[[{{{{\\"[[[["}', b'["\\\\", [[]]]', b"[[[],[],[[]]]", b"not JSON", b""]
)
def test_what_is_as_deep_as_allowed_passes(document: bytes) -> None:
    check_depth(document, 4)


@pytest.mark.parametrize("document", [b"[[[[[]]]]]", b'{"a": {"a": {"a": {"a": [1]}}}}', b'["\\\\", [[[[', b"[" * 100_000])
def test_what_is_deeper_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="nested deeper than 4"):
        check_depth(document, 4)
