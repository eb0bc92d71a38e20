"""Calls that agents make: reports, and what must be true of the network on their hosts.

Agents have no tokens: they know the agents' secret, which is compared in constant time before anything of a call is read.
"""

import hmac

import msgspec

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, bad_request, too_large, unauthorized
from objstore.services.compute.agent_api import Report, Reported
from objstore.services.compute.service import ComputeService

MAX_REPORT_BYTES = 8 * 1024 * 1024  # some 50,000 guests and ports
MAX_AT_ONCE = 32  # reports; agents come back
MAX_NAME_CHARS = 128
REPORT, NETWORK = ("POST", "/agents/v1/report"), ("GET", "/agents/v1/network")
_DECODER = msgspec.json.Decoder(Report)


class AgentCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service
        self._at_once = 0

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {REPORT: self.report, NETWORK: self.network}

    async def report(self, call: Call) -> Answer:
        """What an agent tells."""
        self._check(call)
        if self._at_once >= MAX_AT_ONCE:
            raise CallRefused(503, "Too many hosts report at once.", [(b"retry-after", b"1")])
        self._at_once += 1
        try:
            report = await _report(call)
            forget = await self._service.hosts.reported(report)
            return Answer(body=Reported(await self._service.networks.revision(), forget))
        finally:
            self._at_once -= 1

    async def network(self, call: Call) -> Answer:
        """What must be true of the network on a host."""
        self._check(call)
        host = call.first("host") or ""
        if not 0 < len(host) <= MAX_NAME_CHARS:
            raise bad_request("host= is the name of a host.")
        return Answer(body=await self._service.networks.wanted(host))

    def _check(self, call: Call) -> None:
        given = call.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self._service.secret}".encode()):
            raise unauthorized()


async def _report(call: Call) -> Report:
    pieces: list[bytes] = []
    size = 0
    async for piece in call.body():
        size += len(piece)
        if size > MAX_REPORT_BYTES:
            raise too_large(f"A report has {MAX_REPORT_BYTES} bytes at most.")
        pieces.append(piece)
    try:
        return _DECODER.decode(b"".join(pieces))
    except (msgspec.DecodeError, RecursionError) as failure:
        raise bad_request(f"This is no report: {failure}") from None
