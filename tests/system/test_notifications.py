"""Events on real processes: what was acknowledged arrives, over a kill of the proxy and a target that was away."""

import http.server
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support import rabbitmq
from tests.support.cluster import free_port_base, running_cluster, wait_until
from tests.support.rabbitmq import PASSWORD, QUEUE, USER
from tests.support.s3_server import make_certificate


class Hook:
    """A webhook that can be away: then its port refuses."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._server: http.server.HTTPServer | None = None
        self.port = 0
        self.open()
        self.close()

    def open(self) -> None:
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for record in body["Records"]:
                    hook.take(record)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, record: dict[str, Any]) -> None:
        self.keys.append(record["s3"]["object"]["key"])

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.mark.parametrize("how", [(), ("--tls",)], ids=["http", "tls"])
def test_events_outlive_the_proxy_that_took_the_write(tmp_path: Path, how: tuple[str, ...]) -> None:
    hook = Hook()
    targets = json.dumps({"hook": {"url": f"http://127.0.0.1:{hook.port}/events"}})
    settings = ("--set", f"notifications.targets={targets}", "--set", "notifications.longest_pause_s=1")
    try:
        with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", *settings, *how) as cluster:
            s3 = cluster.s3()
            s3.create_bucket(Bucket="told")
            rule = {"QueueArn": "arn:aws:sqs:us-east-1:1:hook", "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration={"QueueConfigurations": [rule]})
            for number in range(20):
                s3.put_object(Bucket="told", Key=f"k{number:02}", Body=b"x")
            cluster.ctl("stop", "proxy1", "--signal", "KILL")
            hook.open()
            cluster.ctl("start", "proxy1")
            wait_until(lambda: set(hook.keys) >= {f"k{number:02}" for number in range(20)}, 30, "all events to arrive")
            s3.put_object(Bucket="told", Key="after", Body=b"x")
            wait_until(lambda: "after" in hook.keys, 10, "the event of a later write")
    finally:
        hook.close()


def test_events_reach_a_queue_of_rabbitmq_over_kills_of_the_proxy_and_of_the_server(tmp_path: Path) -> None:
    if missing := rabbitmq.obtainable():
        pytest.skip(missing)
    certificate = make_certificate(tmp_path)
    base = free_port_base()
    with rabbitmq.rabbitmq(tmp_path / "rabbit", (base, base + 1, base + 2, base + 3), certificate) as server:
        url = f"amqps://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.tls_port}/store%2Fa?routing_key={QUEUE}"
        targets = json.dumps({"queue": {"url": url, "ca_file": certificate[0]}})
        settings = ("--set", f"notifications.targets={targets}", "--set", "notifications.longest_pause_s=1")
        with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "1", *settings) as cluster:
            s3 = cluster.s3()
            s3.create_bucket(Bucket="told")
            rule = {"QueueArn": "arn:aws:sqs:us-east-1:1:queue", "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(Bucket="told", NotificationConfiguration={"QueueConfigurations": [rule]})
            s3.put_object(Bucket="told", Key="k00", Body=b"x")
            server.stop()
            for number in range(1, 20):
                s3.put_object(Bucket="told", Key=f"k{number:02}", Body=b"x")
            cluster.ctl("stop", "proxy1", "--signal", "KILL")
            server.start()
            cluster.ctl("start", "proxy1")
            found: set[str] = set()

            def all_came() -> bool:
                found.update(json.loads(body)["Records"][0]["s3"]["object"]["key"] for body in server.take())
                return len(found) == 20

            wait_until(all_came, 30, "all events to arrive")
            logs = "".join(path.read_text(errors="replace") for path in (cluster.directory / "log").glob("*.log"))
            assert "events for queue wait" in logs
            assert PASSWORD not in logs
            assert quote(PASSWORD, safe="") not in logs


class Ordered(Hook):
    """Keeps every event as (key, name, version id, sequencer)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []
        super().__init__()

    def take(self, record: dict[str, Any]) -> None:
        thing = record["s3"]["object"]
        self.events.append((thing["key"], record["eventName"], thing.get("versionId", ""), thing["sequencer"]))


def one_writer(clients: list[Any], key: str, turns: int, told: list[tuple[str, str, str]]) -> None:
    """Puts, marks and removals of one key, one after the other through both proxies; `told` are the events of those acknowledged."""
    rng = random.Random(key)
    versions: list[str] = []
    for turn in range(turns):
        client = clients[turn % 2]
        try:
            what = rng.random()
            if what < 0.6 or len(versions) < 2:
                versions.append(client.put_object(Bucket="told", Key=key, Body=b"x" * rng.choice((1, 200_000)))["VersionId"])
                told.append((key, "ObjectCreated:Put", versions[-1]))
            elif what < 0.75:
                marker = client.delete_object(Bucket="told", Key=key)["VersionId"]
                told.append((key, "ObjectRemoved:DeleteMarkerCreated", marker))
            else:
                version = versions.pop(rng.randrange(len(versions)))
                client.delete_object(Bucket="told", Key=key, VersionId=version)
                told.append((key, "ObjectRemoved:Delete", version))
        except (ClientError, BotoCoreError):
            time.sleep(0.05)  # its outcome is not known, so that its event may come or not


@pytest.mark.parametrize("how", [(), ("--tls",)], ids=["http", "tls"])
def test_queued_events_of_two_proxies_outlive_their_restarts_and_tell_the_order_of_writes(tmp_path: Path, how: tuple[str, ...]) -> None:
    hook = Ordered()
    targets = json.dumps({"hook": {"url": f"http://127.0.0.1:{hook.port}/events"}})
    settings = ("--set", f"notifications.targets={targets}", "--set", "notifications.longest_pause_s=1")
    told: list[tuple[str, str, str]] = []
    try:
        with running_cluster(tmp_path / "c", "--nodes", "3", "--proxies", "2", *settings, *how) as cluster:
            clients = [cluster.s3(proxy, attempts=1) for proxy in (0, 1)]
            clients[0].create_bucket(Bucket="told")
            clients[0].put_bucket_versioning(Bucket="told", VersioningConfiguration={"Status": "Enabled"})
            rule = {"QueueArn": "arn:aws:sqs:us-east-1:1:hook", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
            clients[0].put_bucket_notification_configuration(Bucket="told", NotificationConfiguration={"QueueConfigurations": [rule]})
            time.sleep(1.2)  # the other proxy may know the bucket as it was for a second
            with ThreadPoolExecutor(5) as pool:
                writers = [pool.submit(one_writer, clients, f"k{number}", 25, told) for number in range(4)]
                wait_until(lambda: len(told) > 30, 30, "some events to be queued while the target is away")
                cluster.ctl("stop", "proxy1", "--signal", "KILL")
                hook.open()
                cluster.ctl("start", "proxy1")
                for writer in writers:
                    writer.result()
            hook.close()
            more = [
                (f"late{number}", clients[number % 2].put_object(Bucket="told", Key=f"late{number}", Body=b"x")) for number in range(10)
            ]
            told += [(key, "ObjectCreated:Put", answer["VersionId"]) for key, answer in more]
            cluster.ctl("stop", "proxy1")
            cluster.ctl("stop", "proxy2", "--signal", "KILL")
            cluster.ctl("start", "proxy1")
            cluster.ctl("start", "proxy2")
            hook.open()
            wait_until(lambda: set(told) <= {event[:3] for event in hook.events}, 30, "every event to arrive")
    finally:
        hook.close()
    assert len(told) > 50
    for key in {event[0] for event in told}:
        written = [event for event in told if event[0] == key]
        sequencers = {event[:3]: event[3] for event in hook.events if event[0] == key}
        assert len({(event[:3], event[3]) for event in hook.events if event[0] == key}) == len(sequencers)  # repeats are the same
        order = [sequencers[event] for event in written]
        assert order == sorted(set(order)), key
