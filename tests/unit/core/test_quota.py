"""Whether a write fits."""

from objstore.core.quota import QuotaConfig, Usage, decode, encode, fits


def test_each_limit_counts_and_what_does_not_grow_always_fits() -> None:
    config = QuotaConfig(1, 100, 3)
    assert decode(encode(config)) == config
    assert fits(config, Usage(2, 90), Usage(1, 10))
    assert not fits(config, Usage(2, 90), Usage(1, 11))
    assert not fits(config, Usage(3, 0), Usage(1, 0))
    assert fits(config, Usage(3, 200), Usage(0, -5))
    assert fits(config, Usage(9, 200), Usage(0, 0))
    assert fits(QuotaConfig(1), Usage(10**9, 10**15), Usage(1, 10**15))
    assert not fits(QuotaConfig(1, max_objects=0), Usage(0, 0), Usage(1, 0))
