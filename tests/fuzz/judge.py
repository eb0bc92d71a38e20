"""What must hold after every hostile request, whoever carried it: in memory or over a socket."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol
from xml.etree import ElementTree

from tests.fuzz.asked import is_authentic
from tests.fuzz.cases import Case
from tests.fuzz.wire import Malformed, Reply, Seen, reply_in, requests_in

PATIENCE_S = 1.0
CPU_S = 0.25  # for one request and its judgement; no input may be worth more
PROBE_BODY = b"only the probe is answered with this"
OPEN_PATHS = (b"/-/health",)
SWIFT, SWIFTS_ERRORS = b"/v1/", b"text/html; charset=UTF-8"  # a request that a mutation sends there is answered as Swift does


class Line(Protocol):
    """One connection to the server."""

    async def send(self, data: bytes, rng: Random) -> None:
        """Write, in pieces of any size."""

    async def read(self, *, expect_more: bool) -> bytes | None:
        """Bytes that came since; b"" when none come while the server has nothing to do; None at the end of the stream.

        `expect_more`: an answer is due, so patience is the full second.
        """

    async def end(self) -> None:
        """Half-close: no more requests follow."""

    async def close(self) -> None:
        """Forget it."""


@dataclass
class Tally:
    """What was seen in a run."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest_s: float = 0.0


class Finding(AssertionError):
    """Something that must not happen happened."""


class Play:
    """Plays cases on connections and judges; `here`: the server runs in this very thread, so that its processor time can be told."""

    def __init__(self, connect: Callable[[], Awaitable[Line]], probe: Callable[[], bytes], tally: Tally, *, here: bool) -> None:
        self._connect = connect
        self._here = here
        self._probe = probe
        self._line: Line | None = None
        self.tally = tally

    async def case(self, case: Case) -> list[tuple[Seen, Reply]]:
        """Play one case; what was asked and answered.  Raises Finding."""
        began, cpu = asyncio.get_running_loop().time(), time.thread_time()
        if self._line is None:
            self._line = await self._connect()
        line = self._line
        try:
            pairs, alive = await self._converse(line, case)
        except BaseException:
            self._line = None
            await line.close()
            raise
        if not alive:
            self._line = None
            await line.close()
        took = asyncio.get_running_loop().time() - began
        self.tally.slowest_s = max(self.tally.slowest_s, took)
        spent = time.thread_time() - cpu
        if self._here and spent > CPU_S:
            raise Finding(f"took {spent:.2f} s of processor time")
        for seen, reply in pairs:
            self.tally.statuses[reply.status] += 1
            judge(seen, reply, self.tally)
        return pairs

    async def close(self) -> None:
        """Close the connection that is kept."""
        if self._line is not None:
            await self._line.close()
            self._line = None

    async def _converse(self, line: Line, case: Case) -> tuple[list[tuple[Seen, Reply]], bool]:
        asked = requests_in(case.data)
        self.tally.requests += max(1, len(asked))
        await line.send(case.data, Random(case.number))
        replies, ended, received, used = [], False, b"", 0
        while not ended:
            at = len(replies)
            whole = at < len(asked) and asked[at].state == "whole"
            due = at < len(asked) and asked[at].state != "partial"
            chunk = await line.read(expect_more=due)
            if chunk is None:
                ended = True
            elif not chunk:
                if due and at < len(asked):
                    raise Finding(f"no answer in time to request {at + 1} ({asked[at].state})")
                break
            else:
                received += chunk
            while True:
                at = len(replies)
                seen = asked[at] if at < len(asked) else Seen("extra")
                found = reply_in(received[used:], seen.method, ended=ended)
                if found is None:
                    break
                reply, size = found
                used += size
                if reply.status < 200:
                    if not seen.expects:
                        raise Finding(f"{reply.status} to a request that expects none")
                    continue
                if seen.state == "extra":
                    raise Finding(f"an answer ({reply.status}) to a request that was never made")
                replies.append((seen, reply))
                if reply.closes or seen.closes:
                    break
            whole = len(replies) == len(asked) and all(seen.state == "whole" for seen, _ in replies)
            if whole and not (replies[-1][1].closes or replies[-1][0].closes):
                break
            if replies and (replies[-1][1].closes or replies[-1][0].closes) and not ended:
                await self._must_end(line, "after an answer that closes")
                ended = True
        alive = await self._afterwards(line, asked, replies, ended=ended, rest=received[used:])
        return replies, alive

    async def _afterwards(self, line: Line, asked: list[Seen], replies: list[tuple[Seen, Reply]], *, ended: bool, rest: bytes) -> bool:
        if rest and replies and replies[-1][0].method != b"HEAD":
            raise Finding(f"{len(rest)} bytes after the last answer: {rest[:100]!r}")
        last = asked[len(replies) - 1] if replies else None
        if ended:
            if (
                len(replies) < len(asked)
                and asked[len(replies)].state == "whole"
                and not (replies and (replies[-1][1].closes or asked[len(replies) - 1].closes))
            ):
                raise Finding("the connection broke off without an answer")
            return False
        if last is not None and last.state in ("bad", "spoilt"):
            raise Finding(f"a request that can be read in two ways was answered {replies[-1][1].status} and the connection kept")
        if asked and asked[-1].state == "partial":
            await line.end()
            await self._must_end(line, "after the client's end in the middle of a request")
            return False
        if not asked:
            return True
        await self._ask_probe(line)
        return True

    async def _must_end(self, line: Line, when: str) -> None:
        while (chunk := await line.read(expect_more=True)) is not None:
            if not chunk:
                raise Finding(f"the connection stays open {when}")
            if when.startswith("after an answer"):
                raise Finding(f"bytes {when}: {chunk[:100]!r}")

    async def _ask_probe(self, line: Line) -> None:
        await line.send(self._probe(), Random(0))
        received = b""
        while (found := reply_in(received, b"GET", ended=False)) is None:
            chunk = await line.read(expect_more=True)
            if not chunk:
                raise Finding(f"the next request on the connection got no answer ({'closed' if chunk is None else 'silence'})")
            received += chunk
        if found[0].status != 200 or found[0].body != PROBE_BODY:
            raise Finding(f"the next request on the connection got another's answer: {found[0].status} {found[0].body[:200]!r}")


def judge(seen: Seen, reply: Reply, tally: Tally) -> None:
    """One answer to one request.  Raises Finding."""
    status = reply.status
    if status >= 500 and status != 501:
        raise Finding(f"answered {status}: {reply.body[:400]!r}")
    if not {b"x-amz-request-id", b"x-trans-id"} & set(reply.headers) and seen.target.partition(b"?")[0] not in OPEN_PATHS:
        raise Finding(f"a {status} without a request id")
    if status < 400:
        if seen.state == "bad":
            raise Finding(f"a request that can be read in two ways was answered {status}")
        if (
            seen.state == "spoilt"
            and seen.method == b"PUT"
            and not any(name.lower() == b"x-amz-copy-source" for name, _ in seen.headers or [])
        ):
            raise Finding(f"a body that cannot be read was taken: {status}")
        allowed = seen.method == b"OPTIONS" or seen.target.partition(b"?")[0] in OPEN_PATHS
        if not allowed and not is_authentic(seen.method, seen.target, seen.headers or []):
            raise Finding(f"{status} without a good signature")
        return
    if not reply.body:
        if seen.method not in (b"HEAD", b"OPTIONS") and seen.state == "whole":
            raise Finding(f"a {status} without a document")
        return
    if seen.target.startswith(SWIFT) and reply.headers.get(b"content-type") == SWIFTS_ERRORS:
        tally.codes["of Swift"] += 1
        return
    # IAM and STS, which answer forms at the root, say text/xml, as Amazon's do.
    rootward = seen.target.partition(b"?")[0] == b"/"
    kinds = (b"application/xml", b"text/xml") if rootward else (b"application/xml",)
    if reply.headers.get(b"content-type") not in kinds:
        raise Finding(f"an error of type {reply.headers.get(b'content-type')!r}")
    try:
        # Amazon writes control characters as references, which XML 1.0 does not know.
        root = ElementTree.fromstring(reply.body.replace(b"&#x", b"x"))
    except ElementTree.ParseError as failure:
        raise Finding(f"a malformed error document ({failure}): {reply.body[:300]!r}") from failure
    code = root.findtext("Code") or root.findtext("{*}Error/{*}Code") or ""
    given = root.findtext("RequestId") or root.findtext("{*}RequestId") or ""
    if not code or given.encode() != reply.headers[b"x-amz-request-id"]:
        raise Finding(f"an error document without code or with another request id: {reply.body[:300]!r}")
    tally.codes[code] += 1


__all__ = ["PATIENCE_S", "PROBE_BODY", "Finding", "Line", "Malformed", "Play", "Tally"]
