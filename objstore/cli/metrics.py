"""Metrics in Prometheus's text format, on a port of their own: what a scrape asks for is gathered when it asks.

A few lines of HTTP suffice for it: one path, one method, one answer, then the connection ends.
"""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from objstore.errors import ObjstoreError

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HEAD_LIMIT_BYTES = 16_384
HEAD_TIMEOUT_S = 10.0

Sample = tuple[Mapping[str, str], float]


class Page:
    """Collects families of samples into one text."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str, samples: Iterable[Sample]) -> None:
        """A counter or gauge with its samples."""
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        self._lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]

    def histogram(
        self, name: str, text: str, bounds: Iterable[float], series: Iterable[tuple[Mapping[str, str], Iterable[int], float]]
    ) -> None:
        """Histograms from counts by bucket (not cumulative, the last one unbounded) and the sum of what was measured."""
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
        edges = [_number(bound) for bound in bounds] + ["+Inf"]
        for labels, buckets, total in series:
            seen = 0
            for edge, count in zip(edges, buckets, strict=True):
                seen += count
                self._lines.append(f"{name}_bucket{_labels({**labels, 'le': edge})} {seen}")
            self._lines += [f"{name}_sum{_labels(labels)} {_number(total)}", f"{name}_count{_labels(labels)} {seen}"]

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines) + "\n"


def count_requests(page: Page, counts: Mapping[tuple[str, int], int]) -> None:
    """Requests that are not S3's: (service, HTTP status) -> count."""
    samples = [({"service": service, "code": str(code)}, count) for (service, code), count in sorted(counts.items())]
    page.family("objstore_http_requests_total", "counter", "Requests of Swift and of OpenStack's services by HTTP status.", samples)


def services_metrics(counts: Mapping[tuple[str, int], int], cluster: Any) -> str:
    """What a process of OpenStack's services counted since it started."""
    page = Page()
    count_requests(page, counts)
    page.family("objstore_services_serves", "gauge", "1 while a quorum of every partition can be reached.", [({}, int(cluster.serves()))])
    page.family("objstore_ring_version", "gauge", "Epoch of the ring in use.", [({}, cluster.ring.epoch)])
    return page.text()


def proxy_metrics(counters: Any, cluster: Any, notifier: Any = None, swift: Mapping[int, int] | None = None) -> str:
    """What one proxy counted since it started (`counters`: a Snapshot of the S3 front; `swift`: requests by HTTP status)."""
    from objstore.fronts.s3.counters import LATENCY_BOUNDS_S

    page = Page()
    requests = [({"api": api, "code": code}, count) for (api, code), count in sorted(counters.requests.items())]
    page.family("objstore_s3_requests_total", "counter", "S3 requests by API and outcome.", requests)
    series = [({"api": api}, latency.buckets, latency.sum_s) for api, latency in sorted(counters.latency.items())]
    page.histogram("objstore_s3_request_seconds", "Time from a request's headers to the end of its answer.", LATENCY_BOUNDS_S, series)
    count_requests(page, {("swift", code): count for code, count in (swift or {}).items()})
    traffic = [({"dir": "in"}, counters.bytes_in), ({"dir": "out"}, counters.bytes_out)]
    page.family("objstore_s3_bytes_total", "counter", "Bytes of object bodies.", traffic)
    page.family("objstore_quorum_writes_failed_total", "counter", "Writes that found no quorum in time.", [({}, cluster.failed_writes)])
    page.family("objstore_proxy_serves", "gauge", "1 while a quorum of every partition can be reached.", [({}, int(cluster.serves()))])
    page.family("objstore_ring_version", "gauge", "Epoch of the ring in use.", [({}, cluster.ring.epoch)])
    if notifier is not None:
        waiting = [({"target": name}, count) for name, count in sorted(notifier.pending().items())]
        page.family("objstore_events_pending", "gauge", "Events that wait for their target.", waiting)
        attempts = [({"target": name, "outcome": what}, count) for (name, what), count in sorted(notifier.counts.items())]
        page.family("objstore_events_total", "counter", "Attempts to deliver events, by outcome.", attempts)
    return page.text()


async def daemon_metrics(world: Any, fleet: Any, daemons: Any, buckets: Callable[[], Awaitable[Iterable[Any]]] | None = None) -> str:
    """The cluster as its daemons see it: asked of all nodes for this scrape; `buckets` gives what each of them holds."""
    status, told, held = await asyncio.gather(daemons.status(), fleet.reports(), buckets() if buckets is not None else _none())
    reports = {address: report for address, report in told.items() if report is not None}
    now_us = world.clock.wall_us()
    ids = {device.incarnation: str(device.id) for device in fleet.ring.devices.values()}
    devices = [(report, device, ids.get(device.incarnation, "")) for report in reports.values() for device in report.devices]
    page = Page()
    page.family("objstore_ring_version", "gauge", "Epoch of the ring in use.", [({}, fleet.ring.epoch)])
    page.family("objstore_ring_partitions_misplaced", "gauge", "Partitions that are moving.", [({}, len(fleet.ring.moving()))])
    disk_bytes = [
        ({"node": report.name, "disk": disk, "state": state}, value)
        for report, device, disk in devices
        for state, value in (("used", device.used_bytes), ("free", device.free_bytes))
    ]
    page.family("objstore_disk_bytes", "gauge", "Bytes of the file system under each device.", disk_bytes)
    answers = {device.node: int(device.address in reports) for device in fleet.ring.devices.values()}
    page.family("objstore_node_up", "gauge", "1 for a node that answers, 0 for one of the ring that does not.",
                [({"node": name}, up) for name, up in sorted(answers.items())])  # fmt: skip
    states = [({"node": r.name, "disk": disk, "state": d.state}, 1) for r, d, disk in devices]
    seen = {device.incarnation for _, device, _ in devices}
    states += [
        ({"node": device.node, "disk": str(device.id), "state": "unreachable"}, 1)
        for device in fleet.ring.devices.values() if device.incarnation not in seen
    ]  # fmt: skip
    page.family("objstore_disk_state", "gauge", "1 for the state that each device is in.", states)
    rows = [({"node": r.name, "disk": disk}, d.rows) for r, d, disk in devices]
    page.family("objstore_disk_rows", "gauge", "Registers on each device.", rows)
    queued: list[Sample] = [] if status.queued_repairs is None else [({}, status.queued_repairs)]
    page.family("objstore_replication_queue_objects", "gauge", "Rows that some primary lacks or holds differently.", queued)
    page.family(
        "objstore_replication_oldest_seconds", "gauge", "For how long such rows have been seen without a break.",
        [({}, daemons.behind_s())],
    )  # fmt: skip
    bad = [({"node": r.name, "disk": disk}, d.quarantined) for r, d, disk in devices]
    page.family("objstore_scrub_errors_total", "counter", "Damaged rows or bodies that were taken out of service.", bad)
    skew = [({"node": r.name}, (r.wall_us - now_us) / 1e6) for r in reports.values()]
    page.family("objstore_clock_skew_seconds", "gauge", "A node's clock minus this process's, rough by the time of one call.", skew)
    counts = [({"node": r.name, "event": event}, count) for r in reports.values() for event, count in sorted(r.counters.items())]
    page.family("objstore_node_events_total", "counter", "What storage nodes counted since they started.", counts)
    if buckets is not None:
        labelled = [({"account": one.account, "bucket": one.bucket}, one) for one in held]
        page.family("objstore_objects", "gauge", "Current objects of a bucket.", [(labels, one.objects) for labels, one in labelled])
        text = "Bytes of a bucket's objects and noncurrent versions."
        page.family("objstore_bucket_bytes", "gauge", text, [(labels, one.bytes) for labels, one in labelled])
    if daemons.lifecycle is not None:
        acts = [({"action": what}, count) for what, count in sorted(daemons.lifecycle.acted.items())]
        page.family("objstore_lifecycle_actions_total", "counter", "Versions and uploads that lifecycle rules ended, by this host.", acts)
    if daemons.expirer is not None:
        text = "Versions whose X-Delete-At had come, removed by this host."
        page.family("objstore_expired_total", "counter", text, [({}, daemons.expirer.removed)])
    if daemons.sync is not None:
        sent = [({"outcome": what}, count) for what, count in sorted(daemons.sync.counts.items())]
        page.family("objstore_container_sync_total", "counter", "What this host sent to the peers of containers, by outcome.", sent)
    return page.text()


async def _none() -> Iterable[Any]:
    return ()


async def serve_metrics(host: str, port: int, render: Callable[[], str | Awaitable[str]]) -> Callable[[], Awaitable[None]]:
    """Serve `GET /metrics`; returns what ends it.  Raises OSError when the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, text = await _page(head, render)
            body = text.encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port, limit=HEAD_LIMIT_BYTES)

    async def close() -> None:
        server.close()

    return close


async def _page(head: bytes, render: Callable[[], str | Awaitable[str]]) -> tuple[str, str]:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or words[0] != b"GET":
        return "405 Method Not Allowed", "GET /metrics\n"
    if words[1].split(b"?")[0] != b"/metrics":
        return "404 Not Found", "see /metrics\n"
    try:
        text = render()
        return "200 OK", await text if inspect.isawaitable(text) else text
    except ObjstoreError as failure:
        return "503 Service Unavailable", f"{failure}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = ((name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels.items())
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
