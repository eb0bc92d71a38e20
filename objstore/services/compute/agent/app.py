"""The agent's door: POST /v1/CALL, and consoles as WebSockets; the agents' secret is compared in constant time before anything else is read."""

import hmac
import logging
from typing import Any

import msgspec

from objstore.errors import InvalidArgument, ObjstoreError, Refused
from objstore.runtime.tasks import TaskOwner
from objstore.services.calls.call import Receive, Scope, Send
from objstore.services.compute.agent.agent import Agent, NotHere
from objstore.services.compute.agent.lines import KINDS, Lines, bridge
from objstore.services.compute.agent_api import CALLS

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 4 * 1024 * 1024
AT_ONCE = 256  # calls that are being carried out
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in CALLS.items()}


class _Problem(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AgentApp:
    """The application."""

    def __init__(self, agent: Agent, secret: str) -> None:
        self._agent = agent
        self._secret = f"Bearer {secret}".encode()
        self._at_once = 0
        self._lines = Lines()
        self._tasks = TaskOwner("consoles")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] == "websocket":
            await self._console(scope, receive, send)
            return
        try:
            status, answer = 200, await self._answer(scope, receive)
        except _Problem as problem:
            status, answer = problem.status, {"error": str(problem)}
        except NotHere as missing:
            status, answer = 404, {"error": missing.message}
        except InvalidArgument as wrong:
            status, answer = 400, {"error": wrong.message}
        except Refused as refused:
            status, answer = 409, {"error": refused.message}
        except (ObjstoreError, OSError) as failure:
            log.warning("%s cannot be done now: %s", scope.get("path"), failure)
            status, answer = 503, {"error": str(failure)}
        except Exception as bug:
            log.exception("%s failed", scope.get("path"))
            status, answer = 503, {"error": f"this is a bug: {type(bug).__name__}; the agent's log says more"}
        body = msgspec.json.encode(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def aclose(self) -> None:
        """Hang up on who watches consoles."""
        await self._tasks.aclose()
        await self._lines.aclose()

    async def _console(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/servers/ID/console/KIND.  What is refused is closed before it is accepted: 403 for the client."""
        await receive()  # websocket.connect
        try:
            self._check(scope)
            server, kind = _console_of(str(scope["path"]))
            async with self._lines.watch(self._agent.find(server), kind) as watched:
                await send({"type": "websocket.accept"})
                await bridge(watched, receive, send, self._tasks)
        except (_Problem, ObjstoreError, OSError) as refused:
            log.info("a console is refused: %s", refused)
            await send({"type": "websocket.close", "code": 1008})

    def _check(self, scope: Scope) -> None:
        given = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        if not hmac.compare_digest(given, self._secret):
            raise _Problem(401, "the agents' secret is needed")

    async def _answer(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        self._check(scope)
        _, version, name, *rest = [*str(scope["path"]).split("/"), "", ""]
        decoder = _DECODERS.get(name)
        if version != "v1" or any(rest) or decoder is None:
            raise _Problem(404, "there is no such call")
        if scope["method"] != "POST":
            raise _Problem(405, "calls are made by POST")
        if self._at_once >= AT_ONCE:
            raise _Problem(503, "too many calls at once")
        self._at_once += 1
        try:
            try:
                message = decoder.decode(await _body(receive))
            except (msgspec.DecodeError, RecursionError) as failure:
                raise _Problem(400, f"this is no {name}: {failure}") from None
            return await self._agent.carry_out(message)
        finally:
            self._at_once -= 1


def _console_of(path: str) -> tuple[str, str]:
    """The server and the kind of line that a path names."""
    pieces = path.split("/")
    if len(pieces) != 6 or [*pieces[:3], pieces[4]] != ["", "v1", "servers", "console"] or pieces[5] not in KINDS:
        raise _Problem(404, "there is no such console")
    return pieces[3], pieces[5]


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _Problem(400, "the body ended before it was whole")
        pieces.append(bytes(message.get("body", b"")))
        size += len(pieces[-1])
        if size > MAX_BODY_BYTES:
            raise _Problem(413, f"a call has {MAX_BODY_BYTES} bytes at most")
        more = bool(message.get("more_body"))
    return b"".join(pieces)
