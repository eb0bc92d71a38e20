"""S30: many buckets and many parts, for a minute; `python -m tests.torture counts` has a hundred thousand and a million."""

from pathlib import Path

import pytest

from tests.support.cluster import free_port_base
from tests.torture.counts import huge_counts

BUCKETS = 1100  # more than one page of a thousand, of both
PARTS = 2500


@pytest.mark.slow
def test_many_buckets_and_parts_are_listed_in_pages_while_memory_stays_flat(tmp_path: Path) -> None:
    said = huge_counts(tmp_path / "c", rounds=BUCKETS, parts=PARTS, port_base=free_port_base())
    assert said.startswith(f"{BUCKETS} buckets (")
