"""The image service on real processes: large uploads, a crash in the middle of one, imports from a web server, both transports."""

import hashlib
import http.client
import json
import os
import signal
import socketserver
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until
from tests.system.test_openstack_identity import Cloud, administrator

MIB = 1024 * 1024
LEASE_S = 3


def connect(cluster: Cluster) -> http.client.HTTPConnection:
    place = urlsplit(cluster.info["image"])
    if place.scheme == "https":
        return http.client.HTTPSConnection(place.netloc, context=ssl.create_default_context(cafile=cluster.info["ca_cert"]), timeout=60)
    return http.client.HTTPConnection(place.netloc, timeout=60)


def asked(
    cluster: Cluster, admin: Cloud, method: str, path: str, body: Any = None, kind: str = "application/json", **headers: str
) -> tuple[int, bytes]:
    """Status and body of one request."""
    connection = connect(cluster)
    try:
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection.request(method, f"/image{path}", body=data, headers={"X-Auth-Token": admin.token, "Content-Type": kind, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def made(cluster: Cluster, admin: Cloud, **fields: Any) -> str:
    status, raw = asked(cluster, admin, "POST", "/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare", **fields})
    assert status == 201, raw
    return str(json.loads(raw)["id"])


def shown(cluster: Cluster, admin: Cloud, id_: str) -> Any:
    return json.loads(asked(cluster, admin, "GET", f"/v2/images/{id_}")[1])


OCTETS = "application/octet-stream"


@pytest.mark.parametrize("tls", [False, True])
def test_an_image_outlives_a_crash_and_an_upload_that_a_crash_cut_off_leaves_nothing(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", "--set", f"image.lease_s={LEASE_S}", *(["--tls"] if tls else [])) as cluster:
        admin = administrator(cluster)
        data = os.urandom(24 * MIB)
        whole = made(cluster, admin)

        def pieces() -> Iterator[bytes]:
            for at in range(0, len(data), 100_001):
                yield data[at : at + 100_001]

        assert asked(cluster, admin, "PUT", f"/v2/images/{whole}/file", pieces(), OCTETS)[0] == 204
        assert shown(cluster, admin, whole)["os_hash_value"] == hashlib.sha512(data).hexdigest()
        cut = made(cluster, admin)
        connection = connect(cluster)
        connection.putrequest("PUT", f"/image/v2/images/{cut}/file")
        for name, value in (("X-Auth-Token", admin.token), ("Content-Type", OCTETS), ("Content-Length", str(50 * MIB))):
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(bytes(10 * MIB))
        wait_until(lambda: shown(cluster, admin, cut)["status"] == "saving", 20, "the upload has begun")
        pid = cluster.pids()["services1"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(pid), 10, "the process is gone")
        connection.close()
        wait_until(lambda: _queued(cluster, admin, cut), 60, "the upload that was cut off is given up")
        assert asked(cluster, admin, "GET", f"/v2/images/{whole}/file") == (200, data)
        assert asked(cluster, admin, "GET", f"/v2/images/{whole}/file", Range="bytes=1000000-1000009") == (206, data[1_000_000:1_000_010])
        assert asked(cluster, admin, "PUT", f"/v2/images/{cut}/file", b"again", OCTETS)[0] == 204
        for id_ in (whole, cut):
            assert asked(cluster, admin, "DELETE", f"/v2/images/{id_}")[0] == 204
        logs = "".join(path.read_text() for path in (tmp_path / "c" / "log").iterdir())
        assert admin.token not in logs


def _queued(cluster: Cluster, admin: Cloud, id_: str) -> bool:
    try:
        return bool(shown(cluster, admin, id_)["status"] == "queued")
    except (OSError, http.client.HTTPException):
        return False  # not up again yet


class Web(BaseHTTPRequestHandler):
    """Some documents; what is not here is a redirect to where it must not be followed."""

    documents: ClassVar[dict[str, bytes]] = {}
    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        found = self.documents.get(self.path)
        self.send_response(302 if found is None else 200)
        if found is None:
            self.send_header("Location", "/image.raw")
        self.send_header("Content-Length", str(len(found or b"")))
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *_: Any) -> None:
        return


def test_images_come_from_a_listed_web_server_and_from_no_other(tmp_path: Path) -> None:
    Web.documents["/image.raw"] = os.urandom(3 * MIB)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_address[1]}"
        lists = ("--set", f'image.web_download_hosts=["{host}", "localhost"]', "--set", f'image.web_download_private=["{host}"]')
        try:
            with running_cluster(tmp_path / "c", "--proxies", "1", *lists) as cluster:
                admin = administrator(cluster)

                def imported(uri: str) -> tuple[int, str]:
                    id_ = made(cluster, admin)
                    status, _ = asked(cluster, admin, "POST", f"/v2/images/{id_}/import", {"method": {"name": "web-download", "uri": uri}})
                    return status, id_

                status, good = imported(f"http://{host}/image.raw")
                assert status == 202
                wait_until(lambda: shown(cluster, admin, good)["status"] == "active", 30, "the image is imported")
                assert asked(cluster, admin, "GET", f"/v2/images/{good}/file") == (200, Web.documents["/image.raw"])
                # A redirect, and a listed name whose address is a private one.
                for uri in (f"http://{host}/elsewhere", f"http://localhost:{server.server_address[1]}/image.raw"):
                    before = list(Web.seen)
                    status, bad = imported(uri)
                    assert status == 202

                    def ended(id_: str = bad) -> bool:
                        tasks = json.loads(asked(cluster, admin, "GET", f"/v2/images/{id_}/tasks")[1])["tasks"]
                        return bool(tasks[0]["status"] == "failure")

                    wait_until(ended, 30, "the import has failed")
                    assert shown(cluster, admin, bad)["status"] == "queued"
                    assert len(Web.seen) - len(before) == (1 if "elsewhere" in uri else 0)
                assert imported("http://169.254.169.254/latest/meta-data/")[0] == 400
        finally:
            server.shutdown()
