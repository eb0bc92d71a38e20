"""The identity service as a plain ASGI application: find the route, read the body, know who calls, answer in JSON.

It answers below `/identity` and at the root alike.  Refusals have OpenStack's documents; what is not routed is 404, another method
405.  Nothing of a body or of a token is ever logged.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from objstore.core.json_depth import check_depth
from objstore.errors import ConditionalConflict, InvalidArgument, ObjstoreError, PreconditionFailed, TooBusy, Unavailable
from objstore.fronts.exchange import Receive, Scope, Send
from objstore.fronts.identity import (
    app_credentials,
    catalog,
    consumers,
    credentials,
    domain_config,
    domains,
    endpoint_groups,
    grants,
    groups,
    limits,
    policies,
    projects,
    roles,
    token_keys,
    tokens,
    trusts,
    users,
)
from objstore.fronts.identity.call import Answer, Call, Handler, Identity, parse_query
from objstore.fronts.identity.errors import Headers, IdentityProblem, document, unauthorized
from objstore.identity.rules import rule_allows
from objstore.identity.tenancy import AccessRule

log = logging.getLogger(__name__)

PREFIX = "/identity"
MAX_BODY_BYTES = 128 * 1024
MAX_DEPTH = 24
MAX_PIECES = 12  # of a path
JSON_TYPE = (b"content-type", b"application/json")
_MODULES = (
    tokens, domains, projects, users, groups, roles, grants, catalog, credentials, app_credentials, policies, consumers, endpoint_groups,
    domain_config, limits, trusts, token_keys,
)  # fmt: skip
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {key: row for module in _MODULES for key, row in module.ROUTES.items()}
# Calls that need no token: they bring proof of their own.
OPEN = frozenset((("POST", "/auth/tokens"), ("POST", "/users/{user_id}/password")))
# Calls that do not wait for the newest records: they are made for every request that some service serves.
QUICK = frozenset((("GET", "/auth/tokens"),))
_UPDATED = "2026-11-01T00:00:00Z"


class Routes:
    """Finds routes by their pieces; a piece in braces is a parameter."""

    def __init__(self, routes: Mapping[tuple[str, str], tuple[str, Handler]]) -> None:
        self._tree: dict[str, Any] = {}
        for (method, template), row in routes.items():
            node = self._tree
            for piece in template.strip("/").split("/"):
                node = node.setdefault("{}" if piece[0] == "{" else piece, {})
            node.setdefault("", {})[method] = (template, *row)

    def find(self, pieces: list[str]) -> tuple[dict[str, tuple[str, str, Handler]], list[str]] | None:
        """What there is at a path by method, and the values of its parameters; a literal piece goes before a parameter."""
        return self._walk(self._tree, pieces, [])

    def _walk(self, node: dict[str, Any], pieces: list[str], values: list[str]) -> tuple[dict[str, Any], list[str]] | None:
        if not pieces:
            return (node[""], values) if "" in node else None
        piece, rest = pieces[0], pieces[1:]
        if piece and piece != "{}" and piece in node:
            found = self._walk(node[piece], rest, values)
            if found is not None:
                return found
        return self._walk(node["{}"], rest, [*values, piece]) if piece and "{}" in node else None


class IdentityApp:
    """The application."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._routes = Routes(ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"the identity service serves HTTP, not {scope['type']}")
        method = str(scope["method"])
        try:
            answer = await self._answer(scope, receive, "GET" if method == "HEAD" else method)
        except IdentityProblem as problem:
            answer = self._refusal(problem.status, problem.message)
        except (PreconditionFailed, ConditionalConflict):
            answer = self._refusal(409, "Others changed the same thing at this moment; try again.")
        except InvalidArgument as error:
            answer = self._refusal(400, error.message)
        except TooBusy as busy:
            answer = self._refusal(503, busy.message)
            answer.headers.append((b"retry-after", b"1"))
        except (Unavailable, ObjstoreError) as failure:
            log.warning("%s cannot be served: %s", method, failure)
            answer = self._refusal(503, "The records of the identity service cannot be reached now; try again.")
        except Exception:
            log.exception("%s failed", method)
            answer = self._refusal(500, "An unexpected error prevented the server from fulfilling your request.")
        await _send(send, answer, head=method == "HEAD")

    def _refusal(self, status: int, message: str) -> Answer:
        headers: Headers = []
        if status == 401:
            headers.append((b"www-authenticate", f'Keystone uri="{self._identity.public_url}"'.encode()))
        return Answer(status, document(status, message), headers)

    async def _answer(self, scope: Scope, receive: Receive, method: str) -> Answer:
        raw = bytes(scope.get("raw_path") or str(scope["path"]).encode())
        pieces = _pieces(raw)
        if pieces and pieces[0] == PREFIX[1:]:
            del pieces[0]
        if not pieces:
            return self._versions(300) if method == "GET" else self._refusal(405, "The method is not allowed for the requested URL.")
        if pieces[0] != "v3":
            raise IdentityProblem(404, "The resource could not be found.")
        if len(pieces) == 1:
            return Answer(body={"version": self._version()}) if method == "GET" else self._refusal(405, "The method is not allowed.")
        found = self._routes.find(pieces[1:])
        if found is None:
            raise IdentityProblem(404, "The resource could not be found.")
        methods, values = found
        if method not in methods:
            answer = self._refusal(405, "The method is not allowed for the requested URL.")
            answer.headers.append((b"allow", ", ".join(methods).encode()))
            return answer
        template, action, handler = methods[method]
        names = [piece[1:-1] for piece in template.split("/") if piece[:1] == "{"]
        headers = _headers(scope)
        query = parse_query(bytes(scope.get("query_string", b"")))
        body = await _read(receive, headers) if method in ("POST", "PUT", "PATCH") else {}
        if (method, template) not in QUICK:
            await self._identity.registry.feed.catch_up()
        call = Call(
            self._identity,
            method,
            "/" + "/".join(pieces[1:]),
            dict(zip(names, values, strict=True)),
            query,
            headers,
            body,
            None,
            action,
            str(scope["method"]) == "HEAD",
        )
        await self._authenticate(call, (method, template) in OPEN)
        return await handler(call)

    async def _authenticate(self, call: Call, is_open: bool) -> None:  # noqa: FBT001 a fact about the route
        token = call.headers.get("x-auth-token", "")
        if is_open:
            return
        if not token:
            raise unauthorized()
        registry = self._identity.registry
        access = registry.access(token)
        if access is None:
            await registry.feed.refresh()  # its user may have been made elsewhere a moment ago
            access = registry.access(token)
        if access is None:
            raise unauthorized()
        credential = access.app_credential
        if credential is not None and credential.limited:
            rules = [rule for rule in (registry.get(AccessRule, id_) for id_ in credential.rules) if rule is not None]
            if not rule_allows(rules, "identity", call.method, f"/v3{call.path}"):
                raise unauthorized()
        call.access = access

    def _version(self) -> dict[str, Any]:
        return {
            "id": "v3.14",
            "status": "stable",
            "updated": _UPDATED,
            "links": [{"rel": "self", "href": f"{self._identity.public_url}/v3/"}],
            "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
        }

    def _versions(self, status: int) -> Answer:
        return Answer(status, {"versions": {"values": [self._version()]}}, [(b"location", f"{self._identity.public_url}/v3/".encode())])


def _pieces(raw: bytes) -> list[str]:
    """The pieces of a path, decoded one by one.  Raises 400, 404."""
    text = raw.partition(b"?")[0].decode("latin-1").strip("/")
    pieces = text.split("/") if text else []
    if len(pieces) > MAX_PIECES:
        raise IdentityProblem(404, "The resource could not be found.")
    try:
        decoded = [unquote(piece, errors="strict") for piece in pieces]
    except UnicodeDecodeError:
        raise IdentityProblem(400, "the path is not UTF-8") from None
    return decoded


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = bytes(name).decode("latin-1").lower()
        if key in found and key in ("x-auth-token", "x-subject-token"):
            raise IdentityProblem(400, f"{key} is given twice")
        found[key] = bytes(value).decode("latin-1")
    return found


async def _read(receive: Receive, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The body, an object of JSON; empty where there is none.  Raises 400, 413."""
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length[:12]) > MAX_BODY_BYTES:
        raise IdentityProblem(413, f"The request may have {MAX_BODY_BYTES} bytes.")
    slices: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise IdentityProblem(400, "the body breaks off")
        slices.append(bytes(message.get("body", b"")))
        size += len(slices[-1])
        if size > MAX_BODY_BYTES:
            raise IdentityProblem(413, f"The request may have {MAX_BODY_BYTES} bytes.")
        more = message.get("more_body", False)
    return parse_body(b"".join(slices))


def parse_body(data: bytes) -> Mapping[str, Any]:
    """An object of JSON.  Raises 400."""
    if not data.strip():
        return {}
    try:
        check_depth(data, MAX_DEPTH)
        found = msgspec.json.decode(data)
        msgspec.msgpack.encode(found)  # what cannot be kept is refused here: numbers beyond 64 bits
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError, ValueError):
        raise IdentityProblem(
            400,
            "Expecting to find valid JSON. The server could not comply with the request since it is either malformed or otherwise incorrect.",
        ) from None
    if not isinstance(found, dict):
        raise IdentityProblem(400, "the body must be an object of JSON")
    return found


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    body = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else msgspec.json.encode(answer.body)
    headers = list(answer.headers)
    if body:
        headers.append(JSON_TYPE)
    headers.append((b"x-content-type-options", b"nosniff"))
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})
