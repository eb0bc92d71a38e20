"""Swift's accounts on real processes: a quota through two proxies and both dialects, lists that every proxy learns, sites."""

import http.client
import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.cluster import Cluster, running_cluster

USERS = """
[[swift_user]]
account = "reseller"
user = "root"
key = "root-key"
groups = [".reseller_admin"]

[[swift_user]]
account = "friends"
user = "anna"
key = "anna-key"
groups = [".admin"]
"""
LIMIT = 25


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    users = tmp_path_factory.mktemp("users") / "users.toml"
    users.write_text(USERS)
    with running_cluster(tmp_path_factory.mktemp("cluster"), "--proxies", "2", "--identities", str(users)) as found:
        yield found


class Caller:
    """A user at each of the proxies; paths below an account's storage URL."""

    def __init__(self, cluster: Cluster, user: str, key: str, account: str) -> None:
        self.ports = [int(address.rpartition(":")[2]) for address in cluster.info["s3"]]
        self.base = f"/v1/AUTH_{account}"
        self.headers: dict[str, str] = {}
        headers = self.ask("GET", "", at="/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": key})[1]
        self.headers = {"X-Auth-Token": headers["x-auth-token"]}

    def ask(
        self, method: str, name: str, body: bytes = b"", *, proxy: int = 0, at: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.ports[proxy], timeout=30)
        try:
            line.request(method, at or f"{self.base}/{name}".rstrip("/"), body, {**self.headers, **(headers or {})})
            reply = line.getresponse()
            return reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read()
        finally:
            line.close()


def eventually(holds: Any, *, within_s: float = 10.0) -> bool:
    end = time.monotonic() + within_s
    while not (found := holds()) and time.monotonic() < end:
        time.sleep(0.2)
    return bool(found)


def test_a_quota_of_an_account_is_met_exactly_through_two_proxies_and_both_dialects(cluster: Cluster) -> None:
    owner = Caller(cluster, "admin:admin", cluster.info["secret_key"], "admin")
    reseller = Caller(cluster, "reseller:root", "root-key", "admin")
    for name in ("one", "two"):
        assert owner.ask("PUT", name)[0] == 201
    assert reseller.ask("POST", "", headers={"X-Account-Quota-Count": str(LIMIT)})[0] == 204
    time.sleep(1.5)  # a quota binds what begins a second after it was set
    clients = [cluster.s3(proxy, attempts=1) for proxy in (0, 1)]

    def put(number: int) -> bool:
        proxy, bucket, key = number % 2, "one" if number % 3 else "two", f"k{number}"
        if number % 4 < 2:
            return owner.ask("PUT", f"{bucket}/{key}", b"data", proxy=proxy)[0] == 201
        try:
            clients[proxy].put_object(Bucket=bucket, Key=key, Body=b"data")
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(put, range(3 * LIMIT)))
    # A write may be told to come again (503) while the last room is in the other proxy's hands; in the end there is no more, and none less.
    more = itertools.count(1000)
    assert sum(done) <= LIMIT
    assert eventually(lambda: not put(next(more)) and owner.ask("HEAD", "")[1]["x-account-object-count"] == str(LIMIT), within_s=30)
    assert owner.ask("PUT", "one/late", b"data", proxy=1)[0] == 413
    assert reseller.ask("POST", "", headers={"X-Remove-Account-Quota-Count": "x"})[0] == 204


def test_every_proxy_learns_an_accounts_list_and_forgets_it(cluster: Cluster) -> None:
    owner = Caller(cluster, "admin:admin", cluster.info["secret_key"], "admin")
    anna = Caller(cluster, "friends:anna", "anna-key", "admin")
    owner.ask("PUT", "shared")
    assert anna.ask("PUT", "shared/o", b"1", proxy=1)[0] == 403
    acl = json.dumps({"read-write": ["friends:anna"]})
    assert owner.ask("POST", "", headers={"X-Account-Access-Control": acl})[0] == 204
    assert eventually(lambda: anna.ask("PUT", "shared/o", b"1", proxy=1)[0] == 201)
    assert owner.ask("POST", "", headers={"X-Account-Access-Control": ""})[0] == 204
    assert eventually(lambda: all(anna.ask("GET", "shared/o", proxy=proxy)[0] == 403 for proxy in (0, 1)))


def test_a_site_and_a_preflight_come_from_real_processes(cluster: Cluster, tmp_path: Path) -> None:
    owner = Caller(cluster, "admin:admin", cluster.info["secret_key"], "admin")
    stranger = Caller(cluster, "friends:anna", "anna-key", "admin")
    stranger.headers = {}
    headers = {
        "X-Container-Read": ".r:*,.rlistings", "X-Container-Meta-Web-Index": "index.html", "X-Container-Meta-Web-Error": "error.html",
        "X-Container-Meta-Access-Control-Allow-Origin": "http://a.example",
    }  # fmt: skip
    assert owner.ask("PUT", "site", headers=headers)[0] == 201
    for name, body in (("index.html", b"home"), ("404error.html", b"lost")):
        assert owner.ask("PUT", f"site/{name}", body)[0] == 201
    assert stranger.ask("GET", "", at="/v1/AUTH_admin/site/")[2] == b"home"
    assert stranger.ask("GET", "site/nothing")[::2] == (404, b"lost")
    asked = {"Origin": "http://a.example", "Access-Control-Request-Method": "PUT"}
    status, told, _ = stranger.ask("OPTIONS", "site/o", headers=asked, proxy=1)
    assert (status, told["access-control-allow-origin"]) == (200, "http://a.example")
