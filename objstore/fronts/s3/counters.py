"""What the S3 front counts: plain integers on the hot path, read by whoever shows metrics."""

from dataclasses import dataclass, field

# Upper bounds of the latency buckets in seconds; the last bucket has none.
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Latency:
    """Requests by latency bucket (not cumulative), their number and the sum of their times."""

    buckets: tuple[int, ...]
    count: int
    sum_s: float


@dataclass(frozen=True)
class Snapshot:
    """Counters at one moment."""

    requests: dict[tuple[str, str], int]  # (API name, "200" or error code) -> count
    latency: dict[str, Latency]
    bytes_in: int
    bytes_out: int


@dataclass
class _ApiCounts:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    count: int = 0
    sum_s: float = 0.0


class Counters:
    """Counts requests by API and outcome, with their latencies."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self._requests: dict[tuple[str, str], int] = {}
        self._apis: dict[str, _ApiCounts] = {}

    def record(self, api: str, code: str, seconds: float) -> None:
        """One finished request; `code` is the status of a success, the error code otherwise."""
        key = (api, code)
        self._requests[key] = self._requests.get(key, 0) + 1
        counts = self._apis.get(api)
        if counts is None:
            counts = self._apis[api] = _ApiCounts()
        counts.count += 1
        counts.sum_s += seconds
        index = 0
        for bound in LATENCY_BOUNDS_S:
            if seconds <= bound:
                break
            index += 1
        counts.buckets[index] += 1

    def snapshot(self) -> Snapshot:
        """A copy of all counters."""
        latency = {api: Latency(tuple(counts.buckets), counts.count, counts.sum_s) for api, counts in self._apis.items()}
        return Snapshot(dict(self._requests), latency, self.bytes_in, self.bytes_out)
