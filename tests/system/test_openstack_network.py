"""The network service on real processes: what was answered outlives a crash in the middle of many requests, over both transports."""

import http.client
import json
import os
import signal
import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.cluster import Cluster, is_running, running_cluster, wait_until
from tests.system.test_openstack_identity import Cloud, administrator


def asked(cluster: Cluster, admin: Cloud, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and document of one request; 0 where nobody answered."""
    place = urlsplit(cluster.info["network"])
    if place.scheme == "https":
        context = ssl.create_default_context(cafile=cluster.info["ca_cert"])
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(place.netloc, context=context, timeout=60)
    else:
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
    try:
        connection.request(method, f"/network/v2.0{path}", json.dumps(body).encode() if body else None, {"X-Auth-Token": admin.token})
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


@pytest.mark.parametrize("tls", [False, True])
def test_addresses_that_were_given_out_outlive_a_crash_and_are_nobody_elses(tmp_path: Path, tls: bool) -> None:
    with running_cluster(tmp_path / "c", "--proxies", "1", *(["--tls"] if tls else [])) as cluster:
        admin = administrator(cluster)
        status, made = asked(cluster, admin, "POST", "/networks", {"network": {"name": "n"}})
        assert status == 201, made
        network = made["network"]["id"]
        subnet = {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24"}}
        assert asked(cluster, admin, "POST", "/subnets", subnet)[0] == 201
        given: dict[str, str] = {}  # port -> address, of those that were answered
        enough = threading.Event()

        def ask() -> None:
            while not enough.is_set():
                status, document = asked(cluster, admin, "POST", "/ports", {"port": {"network_id": network}})
                if status != 201:
                    return
                given[document["port"]["id"]] = document["port"]["fixed_ips"][0]["ip_address"]

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(given) > 20, 60, "some ports are made")
        pid = cluster.pids()["services1"]
        os.kill(pid, signal.SIGKILL)
        enough.set()
        for thread in threads:
            thread.join()
        wait_until(lambda: not is_running(pid), 20, "the services are gone")
        wait_until(lambda: asked(cluster, admin, "GET", "/networks")[0] == 200, 60, "the services answer again")
        ports = asked(cluster, admin, "GET", f"/ports?network_id={network}")[1]["ports"]
        there = {port["id"]: port["fixed_ips"][0]["ip_address"] for port in ports}
        assert given.items() <= there.items()
        assert len(set(there.values())) == len(there)
        more = asked(cluster, admin, "POST", "/ports", {"port": {"network_id": network}})[1]["port"]
        assert more["fixed_ips"][0]["ip_address"] not in there.values()
