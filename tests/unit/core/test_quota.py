"""Quotas as stored, and sums."""

from objstore.core.quota import Holdings, QuotaConfig, Usage, decode, encode


def test_a_quota_comes_back_as_it_was_stored() -> None:
    config = QuotaConfig(1, 100, 3)
    assert decode(encode(config)) == config
    assert decode(encode(QuotaConfig(1))) == QuotaConfig(1, None, None)


def test_what_does_not_grow_is_always_covered() -> None:
    assert Usage(1, 10).covers(Usage(1, 10))
    assert not Usage(1, 10).covers(Usage(2, 0))
    assert not Usage(1, 10).covers(Usage(0, 11))
    assert Usage(-1, -10).covers(Usage(0, -5))
    assert Usage(1, 2).plus(Usage(3, 4)).minus(Usage(3, 4)) == Usage(1, 2)


def test_delete_markers_do_not_count() -> None:
    assert Holdings(2, 20, 3, 30, 9, 150).usage == Usage(5, 50)
