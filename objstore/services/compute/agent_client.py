"""Calls to the agents of hosts (agent_api.py): one HTTP request each, with the agents' secret and a deadline."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from objstore.errors import Refused, Unavailable
from objstore.runtime.http_client import Http
from objstore.services.compute import agent_api

_NAMES = {kind: name for name, kind in agent_api.CALLS.items()}
# What a call may take besides the time that it gives the guest itself: seconds, at least.
_LONG_S: dict[type[msgspec.Struct], float] = {agent_api.Migrate: 3600.0, agent_api.Spawn: 180.0, agent_api.SnapshotVolume: 300.0}
MAX_WHY_CHARS = 500


class AgentRefused(Refused):
    """The agent says that it cannot be: 404 the server is not on that host, 409 not in the guest's state, 400 not at all."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AgentUnavailable(Unavailable):
    """The agent does not answer, or cannot do it now: it may have been done."""


class AgentClient:
    """Calls agents; `address` says where a host's answers, empty where the host is not known."""

    def __init__(self, address: Callable[[str], Awaitable[str]], secret: str, *, timeout_s: float = 60.0, ca_file: str = "") -> None:
        self._address = address
        self._secret = secret
        self._timeout_s = timeout_s
        self._ca_file = ca_file

    async def call(self, host: str, message: msgspec.Struct, *, timeout_s: float | None = None) -> dict[str, Any]:
        """The answer of a host's agent to one of `agent_api.CALLS`.  Raises AgentRefused, Unavailable."""
        address = await self._address(host)
        if not address:
            raise AgentUnavailable(f"host {host} never reported")
        kind = type(message)
        limit_s = timeout_s or max(self._timeout_s, _LONG_S.get(kind, 0.0)) + float(getattr(message, "timeout_s", 0.0))
        headers = {"Authorization": f"Bearer {self._secret}", "Content-Type": "application/json"}
        try:
            http = Http(address, timeout_s=limit_s, ca_file=self._ca_file)
            answer = await http.request("POST", f"/v1/{_NAMES[kind]}", headers=headers, body=msgspec.json.encode(message))
        except (OSError, ValueError) as failure:
            raise AgentUnavailable(f"the agent of {host} does not answer: {failure or type(failure).__name__}") from failure
        if answer.status == 200:
            return _document(answer.body)
        why = str(_document(answer.body).get("error") or "it did not say why")[:MAX_WHY_CHARS]
        if answer.status in (400, 404, 409):
            raise AgentRefused(answer.status, why)
        raise AgentUnavailable(f"the agent of {host} answers {answer.status}: {why}")


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
