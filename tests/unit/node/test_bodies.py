import asyncio

import pytest
import xxhash

from objstore.errors import DamagedBody, IncompleteBody, InvalidArgument, NoSuchVersion, StaleEpoch, TooBusy
from objstore.node import bodies
from objstore.wire import messages as m
from ring import builder
from tests.support.nodes import Nodes, ballot, key, row
from tests.support.wires import Site, run

BLOB = b"0123456789abcdef"
BODY = bytes(range(251)) * 5000


async def stage(nodes: Nodes, body: bytes = BODY, *, size: int | None = None, blob: bytes = BLOB) -> m.Staged:
    request = nodes.request(m.StageBody, partition=0, blob=blob, size=len(body) if size is None else size)
    upload = await (await nodes.channel(0)).open_upload(request, timeout_s=10)
    for offset in range(0, len(body), 100_000):
        await upload.write(memoryview(body)[offset : offset + 100_000])
    answer, _ = await upload.finish()
    assert isinstance(answer, m.Staged)
    return answer


async def read(nodes: Nodes, origin: bytes, offset: int = 0, length: int = -1) -> tuple[m.BodyBegin, bytes]:
    request = nodes.request(m.ReadBody, key=key(), origin=origin, offset=offset, length=length)
    download = await (await nodes.channel(0)).open_download(request, timeout_s=10)
    return download.begin, b"".join([bytes(piece) async for piece in download])


@pytest.mark.parametrize("announced", [len(BODY), -1])
def test_a_blob_is_staged_named_by_a_row_and_read_in_ranges(announced: int) -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        assert await stage(nodes, size=announced) == m.Staged(len(BODY), xxhash.xxh3_128_digest(BODY))
        await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row(1, blob=BLOB, size=len(BODY)))
        size = len(BODY)
        for offset, length in ((0, -1), (0, 1), (100_000, 7), (size - 5, -1), (size - 5, 100), (size, -1), (0, 0)):
            begin, data = await read(nodes, ballot(), offset, length)
            expected = BODY[offset:] if length < 0 else BODY[offset : offset + length]
            assert (begin, data) == (m.BodyBegin(size, len(expected)), expected)
        await nodes.stop()

    run(main)


def test_an_inline_body_is_read_the_same_way() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        await nodes.ask(m.Accept, 0, b"small", partition=0, key=key(), ballot=ballot(), row=row(1, b"small"), has_payload=True)
        assert await read(nodes, ballot(), 1, 3) == (m.BodyBegin(5, 3), b"mal")
        with pytest.raises(NoSuchVersion):
            await read(nodes, ballot(2))
        await nodes.stop()

    run(main)


@pytest.mark.parametrize("announced", [len(BODY) - 1, len(BODY) + 1, 0])
def test_a_body_of_another_size_than_announced_is_refused_and_leaves_nothing(announced: int) -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        with pytest.raises(IncompleteBody):
            await stage(nodes, size=announced)
        assert (await nodes.apps[0].report()).devices[0].staged == 0
        await nodes.stop()

    run(main)


def test_an_upload_whose_sender_vanishes_leaves_nothing() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        channel = await nodes.channel(0)
        upload = await channel.open_upload(nodes.request(m.StageBody, partition=0, blob=BLOB, size=len(BODY)), timeout_s=10)
        await upload.write(BODY[:500_000])
        await asyncio.sleep(0.1)
        assert nodes.apps[0]._bodies.staging == 1
        channel.close()
        await asyncio.sleep(1)
        assert nodes.apps[0]._bodies.staging == 0
        assert (await nodes.apps[0].report()).devices[0].staged == 0
        await stage(nodes)
        await nodes.stop()

    run(main)


def test_a_body_of_an_epoch_that_ends_meanwhile_is_staged_all_the_same() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        channel = await nodes.channel(0)
        upload = await channel.open_upload(nodes.request(m.StageBody, partition=0, blob=BLOB, size=len(BODY)), timeout_s=10)
        await upload.write(BODY[:500_000])
        await asyncio.sleep(0.1)
        await nodes.publish(builder.change(nodes.ring, [builder.Weigh(0, 2.0)], now_s=1e9))
        await upload.write(BODY[500_000:])
        answer, _ = await upload.finish()
        assert answer == m.Staged(len(BODY), xxhash.xxh3_128_digest(BODY))
        with pytest.raises(StaleEpoch):
            await nodes.ask(m.Accept, epoch=1, partition=0, key=key(), ballot=ballot(), row=row(1, blob=BLOB, size=len(BODY)))
        answer = await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row(1, blob=BLOB, size=len(BODY)))
        assert answer.verdict == "yes"
        await nodes.stop()

    run(main)


def test_nonsense_is_refused_before_anything_is_opened() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        for changes in ({"blob": b"../../etc/passwd"[:15]}, {"blob": b""}, {"size": -2}):
            request = nodes.request(m.StageBody, **{"partition": 0, "blob": BLOB, "size": 1, **changes})
            upload = await (await nodes.channel(0)).open_upload(request, timeout_s=10)
            with pytest.raises(InvalidArgument):
                await upload.finish()
        for offset, length in ((-1, 5), (0, -2)):
            with pytest.raises(InvalidArgument):
                await read(nodes, ballot(), offset, length)
        await nodes.stop()

    run(main)


def test_bodies_under_way_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_STAGING", 1)
    monkeypatch.setattr(bodies, "MAX_READING", 1)

    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        await stage(nodes)
        await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row(1, blob=BLOB, size=len(BODY)))
        channel = await nodes.channel(0)
        slow = await channel.open_download(nodes.request(m.ReadBody, key=key(), origin=ballot()), timeout_s=10)
        with pytest.raises(TooBusy):
            await read(nodes, ballot())
        await slow.aclose()
        await asyncio.sleep(0.1)
        await read(nodes, ballot())
        waiting = await channel.open_upload(nodes.request(m.StageBody, partition=0, blob=b"x" * 16, size=-1), timeout_s=10)
        await asyncio.sleep(0.1)
        with pytest.raises(TooBusy):
            await stage(nodes, blob=b"y" * 16)
        waiting.abort()
        await asyncio.sleep(0.1)
        await stage(nodes, blob=b"z" * 16)
        await nodes.stop()

    run(main)


def test_damaged_bytes_break_a_body_off_and_are_never_sent() -> None:
    async def main(site: Site) -> None:
        nodes = await Nodes.start(site, 1)
        await stage(nodes)
        await nodes.ask(m.Accept, partition=0, key=key(), ballot=ballot(), row=row(1, blob=BLOB, size=len(BODY)))
        where = await nodes.ask(m.Locate, key=key())
        file = site.world.open_disk("/disks/0a").open(where.file, write=True)
        at = where.offset + 1_200_000
        file.pwrite([bytes([file.pread(1, at)[0] ^ 1])], at)
        got = b""
        request = nodes.request(m.ReadBody, key=key(), origin=ballot())
        download = await (await nodes.channel(0)).open_download(request, timeout_s=10)

        async def drain() -> None:
            nonlocal got
            async for piece in download:
                got += bytes(piece)

        with pytest.raises(DamagedBody):
            await drain()
        assert BODY.startswith(got)
        assert len(got) <= 1_200_000
        await nodes.stop()

    run(main)
