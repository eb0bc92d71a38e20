"""Calls of the compute API that only pass on to another service: asked in the process, through that service's own API, with the caller's own token.

So who may do what is decided where it belongs, and nothing of another service's tables is known here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from objstore.services.calls.call import Call, Receive, Scope, Send
from objstore.services.calls.problems import CallRefused, title

App = Callable[[Scope, Receive, Send], Awaitable[None]]
MAX_WHY_CHARS = 1000


class Neighbour:
    """Another service's application; `prefix` is the first piece of its paths."""

    def __init__(self, app: App, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def ask(
        self, call: Call, method: str, path: Sequence[str], body: Any = None, *, query: Sequence[tuple[str, str]] = (),
        content_type: str = "application/json",
    ) -> Any:  # fmt: skip
        """The answer's document, None where there is none; `path` in pieces.  Raises CallRefused as the service refuses."""
        data = b"" if body is None else msgspec.json.encode(body)
        raw = "/" + "/".join(quote(piece, safe="") for piece in (self._prefix, *path))
        given = {"x-auth-token": call.headers.get("x-auth-token", ""), "content-type": content_type, "content-length": str(len(data))}
        scope: Scope = {
            "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": urlencode(list(query)).encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }  # fmt: skip
        waiting = [data]
        status, pieces = 500, list[bytes]()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False} if waiting else {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            else:
                pieces.append(bytes(message.get("body", b"")))

        await self._app(scope, receive, send)
        document = _decoded(b"".join(pieces))
        if status >= 400:
            raise CallRefused(status, _why(document) or title(status))
        return document


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data) if data else None
    except msgspec.DecodeError:
        return None


def _why(document: Any) -> str:
    """Each service has its own way to say it."""
    if not isinstance(document, dict):
        return ""
    found = document.get("message") or next((inner.get("message") for inner in document.values() if isinstance(inner, dict)), "")
    return str(found or "")[:MAX_WHY_CHARS]
