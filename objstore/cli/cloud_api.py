"""A client of the services' REST APIs, for the command line: logs in, finds services in the catalog, asks and waits.

Plain blocking calls of the standard library, so that `objstore cloud` needs no client's packages.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from objstore.cli.client import pause

TIMEOUT_S = 60.0
POLL_S = 0.25
T = TypeVar("T")


class CloudError(Exception):
    """A service refused, or could not be reached; `status` is HTTP's, 0 where there was no answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CloudApi:
    """One user in one project."""

    def __init__(self, auth_url: str, *, user: str, project: str, password: str, ca_file: str | None = None) -> None:
        self._context = ssl.create_default_context(cafile=ca_file) if ca_file else None
        self._token = ""
        self.services: dict[str, str] = {}  # by type
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": {"name": "Default"}, "password": password}},
        }
        scope = {"project": {"name": project, "domain": {"name": "Default"}}}
        _, headers, raw = self._ask(
            "POST", f"{auth_url}/auth/tokens", json.dumps({"auth": {"identity": identity, "scope": scope}}).encode(), {}
        )
        token = json.loads(raw)["token"]
        self._token = headers["X-Subject-Token"]
        self.project_id = str(token["project"]["id"])
        self.user_id = str(token["user"]["id"])
        for service in token["catalog"]:
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == "public":
                    self.services[service["type"]] = endpoint["url"].rstrip("/")

    def url(self, service: str) -> str:
        """Where a service answers.  Raises CloudError."""
        if service not in self.services:
            raise CloudError(f"the catalog has no {service} service; it has {', '.join(sorted(self.services))}")
        return self.services[service]

    def ask(self, method: str, service: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """One call; the document it answers, None for none.  `body` is a document, or bytes.  Raises CloudError."""
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        _, _, raw = self._ask(method, self.url(service) + path, data, {"Content-Type": kind, **(headers or {})})
        return json.loads(raw) if raw[:1] in (b"{", b"[") else None

    def find(self, service: str, path: str, kind: str, **want: Any) -> dict[str, Any] | None:
        """The first thing of a listing with those fields.  Raises CloudError."""
        for thing in self.ask("GET", service, path)[kind]:
            if all(thing.get(name) == value for name, value in want.items()):
                return dict(thing)
        return None

    def _ask(self, method: str, url: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
        at = urlsplit(url)
        place = f"{at.path}?{at.query}" if at.query else at.path
        connection = (
            http.client.HTTPSConnection(at.netloc, context=self._context, timeout=TIMEOUT_S)
            if at.scheme == "https"
            else http.client.HTTPConnection(at.netloc, timeout=TIMEOUT_S)
        )
        try:
            connection.request(
                method, place, data, {"Accept": "application/json", **({"X-Auth-Token": self._token} if self._token else {}), **headers}
            )
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as failure:
            raise CloudError(f"{method} {url}: {failure}") from failure
        finally:
            connection.close()
        if answer.status >= 400:
            raise CloudError(f"{method} {url}: {answer.status}: {_why(raw)}", answer.status)
        return answer.status, answer.headers, raw


def wait(look: Callable[[], T | None], *, what: str, timeout_s: float) -> T:
    """Ask until there is an answer.  Raises CloudError after `timeout_s`."""
    for _ in range(max(1, int(timeout_s / POLL_S))):
        found = look()
        if found is not None:
            return found
        pause(POLL_S)
    raise CloudError(f"{what}: not within {timeout_s:g} s")


def _why(raw: bytes) -> str:
    """The reason in an error's document, whatever its shape; else its beginning."""
    text = raw.decode(errors="replace")[:500]
    try:
        document = json.loads(raw)
        inner = next(iter(document.values()))
        return str(inner["message"]) if isinstance(inner, dict) and "message" in inner else str(inner)
    except (ValueError, AttributeError, StopIteration):
        return text
