"""Times as Swift writes them."""

from objstore.fronts.swift.times import listing_time, timestamp


def test_times_have_the_digits_that_clients_expect() -> None:
    assert timestamp(1_700_000_000_012_345) == "1700000000.01234"
    assert listing_time(1_700_000_000_012_345) == "2023-11-14T22:13:20.012340"
    assert listing_time(0) == "1970-01-01T00:00:00.000000"
