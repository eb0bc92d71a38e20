"""The front in real server processes, over TCP: what memory.py cannot show, sockets, the kernel's buffers and the proxy's memory."""

import asyncio
import contextlib
import tempfile
import time
from itertools import count
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from tests.fuzz.asked import ACCESS_KEY, SECRET_KEY, Asked, render
from tests.fuzz.cases import make_case
from tests.fuzz.corpus import recorded
from tests.fuzz.judge import Finding, Malformed, Play, Tally
from tests.fuzz.memory import probe, setting
from tests.fuzz.wire import reply_in
from tests.support.cluster import Cluster, running_cluster

PLAYERS = 8
LAID_ANEW_EVERY = 400  # cases: others delete what the recorded requests speak of
DUE_S = 10.0  # the machine may be busy with other things; what took longer than SLOW_S is a finding all the same
SLOW_S = 4.0
QUIET_S = 0.05


class SocketLine:
    """A TCP connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes, rng: Random) -> None:
        at = 0
        whole = rng.random() < 0.7
        while at < len(data):
            size = len(data) if whole else rng.randrange(1, 1 + max(64, len(data) // 3))
            with contextlib.suppress(ConnectionError):  # it may have refused and closed already
                self._writer.write(data[at : at + size])
                await self._writer.drain()
            at += size

    async def read(self, *, expect_more: bool) -> bytes | None:
        try:
            data = await asyncio.wait_for(self._reader.read(1 << 18), DUE_S if expect_more else QUIET_S)
        except TimeoutError:
            return b""
        except ConnectionError:
            return None
        return data or None

    async def end(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.transport.abort()


def run(seed: int, first: int, cases: int) -> tuple[Tally, int]:
    """Play cases over sockets; the tally and by how many KiB the proxy's memory grew after the first quarter."""
    with tempfile.TemporaryDirectory(prefix="objstore-fuzz") as directory:
        identities = Path(directory) / "identities.toml"
        identities.write_text(
            f'[[user]]\naccount = "fuzz"\nname = "fuzz"\naccess_key = "{ACCESS_KEY.decode()}"\nsecret_key = "{SECRET_KEY}"\n'
        )
        with running_cluster(Path(directory) / "c", "--nodes", "1", "--proxies", "1", "--identities", str(identities)) as cluster:
            return asyncio.run(_play(cluster, seed, first, cases))


async def _play(cluster: Cluster, seed: int, first: int, cases: int) -> tuple[Tally, int]:
    port = int(cluster.info["s3"][0].rpartition(":")[2])
    pid = cluster.pids()["proxy1"]
    tally = Tally()
    numbers = count(first)
    end = first + cases
    corpus: list[Asked] = []
    memory: list[int] = []

    async def connect() -> SocketLine:
        return SocketLine(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))

    async def lay() -> None:
        corpus[:] = recorded(await _lay(await connect()))

    async def player() -> None:
        play = Play(connect, probe, tally, here=False)
        while (number := next(numbers)) < end:
            if number % LAID_ANEW_EVERY == 0:
                await lay()
            if number - first == cases // 4:
                memory.append(_rss_kib(pid))
            case = make_case(seed, number, corpus)
            began = time.monotonic()
            try:
                await play.case(case)
                if time.monotonic() - began > SLOW_S:
                    raise Finding(f"took {time.monotonic() - began:.1f} s")
            except (Finding, Malformed, OSError) as failure:
                tally.findings.append(f"over a socket, seed {seed} case {number}: {failure!r}\n    {case.story}\n    {case.data[:1500]!r}")
        await play.close()

    await lay()
    await asyncio.gather(*(player() for _ in range(PLAYERS)))
    if cluster.pids().get("proxy1") != pid:
        tally.findings.append("the proxy died and was started again")
        return tally, 0
    return tally, _rss_kib(pid) - memory[0]


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


async def _lay(line: SocketLine) -> bytes:
    """Have what the recorded requests speak of; the id of an upload."""
    answer = b""
    for asked in setting():
        out = render(asked)
        await line.send(out.head() + out.body, Random(0))
        received = b""
        while (found := reply_in(received, asked.method, ended=False)) is None:
            chunk = await line.read(expect_more=True)
            assert chunk, f"no answer to {asked.method!r} {asked.path!r}"
            received += chunk
        assert found[0].status < 500, found[0]
        answer = found[0].body
    await line.close()
    root = ElementTree.fromstring(answer)
    return (root.findtext("{*}UploadId") or "none").encode()
