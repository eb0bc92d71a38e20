"""Metrics: the text format, and the small server that gives it."""

import asyncio
import socket
from types import SimpleNamespace

from objstore.cli.bucket_metrics import Held
from objstore.cli.metrics import Page, daemon_metrics, proxy_metrics, serve_metrics, services_metrics
from objstore.daemons.control import StatusResult
from objstore.errors import QuorumLost
from objstore.fronts.s3.counters import Counters
from objstore.wire.messages import DeviceReport, NodeReport


def test_histograms_are_cumulative_and_labels_are_escaped() -> None:
    page = Page()
    page.histogram("h", "times", (0.1, 1.0), [({"api": 'a"b\\c\n'}, (1, 2, 3), 4.5)])
    assert page.text() == (
        "# HELP h times\n# TYPE h histogram\n"
        'h_bucket{api="a\\"b\\\\c\\n",le="0.1"} 1\nh_bucket{api="a\\"b\\\\c\\n",le="1"} 3\nh_bucket{api="a\\"b\\\\c\\n",le="+Inf"} 6\n'
        'h_sum{api="a\\"b\\\\c\\n"} 4.5\nh_count{api="a\\"b\\\\c\\n"} 6\n'
    )


def test_a_proxy_shows_its_requests_times_and_bytes() -> None:
    counters = Counters()
    counters.record("PutObject", "200", 0.004)
    counters.record("GetObject", "NoSuchKey", 0.0005)
    counters.bytes_in = 10
    cluster = SimpleNamespace(ring=SimpleNamespace(epoch=7), failed_writes=3, serves=lambda: False)
    text = proxy_metrics(counters.snapshot(), cluster)
    assert "objstore_quorum_writes_failed_total 3" in text
    assert "objstore_proxy_serves 0" in text
    assert 'objstore_s3_requests_total{api="GetObject",code="NoSuchKey"} 1' in text
    assert 'objstore_s3_request_seconds_bucket{api="PutObject",le="0.005"} 1' in text
    assert 'objstore_s3_bytes_total{dir="in"} 10' in text
    assert "objstore_ring_version 7" in text


def test_a_proxy_shows_swifts_requests_by_status() -> None:
    cluster = SimpleNamespace(ring=SimpleNamespace(epoch=7), failed_writes=3, serves=lambda: False)
    text = proxy_metrics(Counters().snapshot(), cluster, None, {201: 4, 404: 1})
    assert 'objstore_http_requests_total{service="swift",code="201"} 4' in text
    assert 'objstore_http_requests_total{service="swift",code="404"} 1' in text


def test_the_services_show_their_requests_and_whether_they_serve() -> None:
    cluster = SimpleNamespace(ring=SimpleNamespace(epoch=7), serves=lambda: True)
    text = services_metrics({("image", 200): 2, ("identity", 401): 1}, cluster)
    assert 'objstore_http_requests_total{service="identity",code="401"} 1' in text
    assert 'objstore_http_requests_total{service="image",code="200"} 2' in text
    assert "objstore_services_serves 1" in text


def test_a_daemon_shows_what_the_nodes_report_now() -> None:
    device = DeviceReport(
        device=0, incarnation=b"i" * 8, path="/d", state="up", used_bytes=5, free_bytes=6, rows=7, quarantined=1, pending_partitions=0
    )

    late = False

    class Fleet:
        here = SimpleNamespace(id=4, node="node1", address="a", incarnation=b"i" * 8)
        away = SimpleNamespace(id=5, node="node2", address="b", incarnation=b"j" * 8)
        wiped = SimpleNamespace(id=6, node="node1", address="a", incarnation=b"k" * 8)
        ring = SimpleNamespace(epoch=3, devices={4: here, 5: away, 6: wiped}, moving=lambda: [1, 2])

        async def reports(self) -> dict[str, NodeReport | None]:
            return {"a": NodeReport("node1", 3, 2_000_000, [device], {"accepts": 9}), "b": None}

    class Daemons:
        lifecycle = SimpleNamespace(acted={"expire": 3})
        expirer = SimpleNamespace(removed=4)
        sync = SimpleNamespace(counts={"put": 5})

        def behind_s(self) -> float:
            return 2.5

        async def status(self) -> StatusResult:
            return StatusResult(epoch=3, under_replicated=1, misplaced=0, queued_repairs=None if late else 1, quarantined=1, changing=False)

    world = SimpleNamespace(clock=SimpleNamespace(wall_us=lambda: 1_500_000))

    async def buckets() -> list[Held]:
        return [Held("acme", "photos", 2, 30)]

    assert "objstore_objects" not in asyncio.run(daemon_metrics(world, Fleet(), Daemons()))
    text = asyncio.run(daemon_metrics(world, Fleet(), Daemons(), buckets))
    for line in (
        'objstore_objects{account="acme",bucket="photos"} 2',
        'objstore_bucket_bytes{account="acme",bucket="photos"} 30',
        "objstore_ring_version 3",
        "objstore_ring_partitions_misplaced 2",
        'objstore_disk_bytes{node="node1",disk="4",state="free"} 6',
        'objstore_clock_skew_seconds{node="node1"} 0.5',
        'objstore_node_up{node="node1"} 1',
        'objstore_node_up{node="node2"} 0',
        'objstore_disk_state{node="node1",disk="4",state="up"} 1',
        'objstore_disk_state{node="node2",disk="5",state="unreachable"} 1',
        'objstore_disk_state{node="node1",disk="6",state="unreachable"} 1',
        'objstore_node_events_total{node="node1",event="accepts"} 9',
        "objstore_replication_queue_objects 1",
        "objstore_replication_oldest_seconds 2.5",
        'objstore_container_sync_total{outcome="put"} 5',
        'objstore_scrub_errors_total{node="node1",disk="4"} 1',
        'objstore_lifecycle_actions_total{action="expire"} 3',
        "objstore_expired_total 4",
    ):
        assert line in text.splitlines()
    late = True
    text = asyncio.run(daemon_metrics(world, Fleet(), Daemons()))
    assert "objstore_replication_queue_objects 1" not in text, "what is not known is not told, and the rest is"
    assert 'objstore_node_up{node="node2"} 0' in text


def test_the_server_answers_one_path_by_one_method() -> None:
    async def ask(port: int, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def main() -> None:
        texts = iter(["metric 1\n", "metric 2\n"])

        async def render() -> str:
            text = next(texts, None)
            if text is None:
                raise QuorumLost("nobody answers")
            return text

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        close = await serve_metrics("127.0.0.1", port, render)
        try:
            answer = await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert answer.endswith(b"\r\n\r\nmetric 1\n")
            assert b" 404 " in await ask(port, b"GET / HTTP/1.1\r\n\r\n")
            assert b" 405 " in await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")
            assert b" 405 " in await ask(port, b"nonsense\r\n\r\n")
            assert (await ask(port, b"GET /metrics?x HTTP/1.0\r\n\r\n")).endswith(b"metric 2\n")
            assert b" 503 " in await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert await ask(port, b"x" * 40_000) == b""
        finally:
            await close()

    asyncio.run(main())
