"""Counters."""

from objstore.fronts.s3.counters import LATENCY_BOUNDS_S, Counters


def test_requests_are_counted_by_api_and_outcome_with_their_latency() -> None:
    counters = Counters()
    counters.record("GetObject", "200", 0.0005)
    counters.record("GetObject", "200", 0.001)
    counters.record("GetObject", "NoSuchKey", 99.0)
    counters.bytes_out += 5
    seen = counters.snapshot()
    assert seen.requests == {("GetObject", "200"): 2, ("GetObject", "NoSuchKey"): 1}
    latency = seen.latency["GetObject"]
    assert (latency.buckets[0], latency.buckets[-1], sum(latency.buckets), latency.count) == (2, 1, 3, 3)
    assert len(latency.buckets) == len(LATENCY_BOUNDS_S) + 1
    assert round(latency.sum_s, 4) == 99.0015
    counters.record("GetObject", "200", 0.1)
    assert (seen.requests[("GetObject", "200")], seen.bytes_out) == (2, 5)
