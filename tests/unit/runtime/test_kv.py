"""The key-value contract's one constant; what both stores must do is in tests/conformance/test_kv.py."""

from pathlib import Path

import lmdb

from objstore.runtime.kv import MAX_KEY_BYTES


def test_the_longest_key_is_what_lmdb_takes(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path)) as environment:
        assert environment.max_key_size() == MAX_KEY_BYTES
