"""Swift over HTTP or TLS against a cluster of real processes, by the standard library."""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from tests.support.cluster import Cluster
from tests.support.swift_server import Reply


def ask(url: str, method: str, headers: Mapping[str, str], body: bytes | None = None, *, ca_file: str | None = None) -> Reply:
    """One request; certificates are checked against `ca_file`."""
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=20, context=ssl.create_default_context(cafile=ca_file))
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Account:
    """The administrator's account on a cluster; names are paths below its storage URL."""

    def __init__(self, cluster: Cluster) -> None:
        self._ca = cluster.info["ca_cert"] or None
        headers = {"X-Auth-User": "admin:admin", "X-Auth-Key": cluster.info["secret_key"]}
        answer = ask(cluster.info["swift_auth"], "GET", headers, ca_file=self._ca)
        assert answer.status == 200, answer
        self.url, self.token = answer.headers["x-storage-url"], answer.headers["x-auth-token"]

    def ask(
        self, method: str, name: str = "", body: bytes | None = None, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """A request with the account's token."""
        url = f"{self.url}/{quote(name)}".rstrip("/") + (f"?{query}" if query else "")
        return ask(
            url,
            method,
            {"X-Auth-Token": self.token, **(headers or {})},
            b"" if body is None and method == "PUT" else body,
            ca_file=self._ca,
        )

    def names(self, container: str, query: str = "") -> list[str]:
        """A container's listing."""
        return self.ask("GET", container, query=query).body.decode().splitlines()
