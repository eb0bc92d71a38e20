"""Times as S3 writes them, against the library's."""

from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from objstore.fronts.s3.times import basic_timestamp, http_time, iso_time


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_are_written_as_the_library_writes_them(us: int) -> None:
    at = datetime.fromtimestamp(us // 1_000_000, UTC)
    assert iso_time(us) == at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert http_time(us).decode() == format_datetime(at, usegmt=True)
    assert basic_timestamp(us) == at.strftime("%Y%m%dT%H%M%SZ")
