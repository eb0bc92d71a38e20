"""Consoles: who is given an address, and how often it is good."""

import asyncio
from typing import Any

import pytest

from objstore.services.compute.consoles import MAX_TOKENS, take
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ALICE, BOB, READER

S = "5" * 32
PATH = f"/servers/{S}/remote-consoles"


def asked(protocol: str = "serial", type_: str = "serial") -> Any:
    return {"remote_console": {"protocol": protocol, "type": type_}}


async def token(rig: CloudRig, protocol: str = "serial", type_: str = "serial") -> str:
    reply = await rig.ask("POST", PATH, asked(protocol, type_), version="2.6")
    assert reply.status == 200, reply.raw
    url: str = reply.body["remote_console"]["url"]
    assert url.startswith(f"ws://compute.test/compute/console/{protocol}?token=")
    return url.partition("=")[2]


async def taken(rig: CloudRig, text: str, kind: str = "serial") -> str | None:
    return await rig.sql.write(lambda connection: take(connection, text, kind, rig.clock.wall_us()))


def test_a_token_opens_its_own_console_once() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(S, host="h1")
        first, second = await token(rig), await token(rig, "vnc", "novnc")
        assert await taken(rig, first, "vnc") is None
        assert await taken(rig, first) == S
        assert await taken(rig, first) is None
        assert await taken(rig, second, "vnc") == S
        assert await taken(rig, "x") is None

    on_cloud_rig(test)


def test_a_token_is_good_for_ten_minutes() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(S, host="h1")
        text = await token(rig)
        await asyncio.sleep(601)
        assert await taken(rig, text) is None

    on_cloud_rig(test)


def test_the_oldest_of_very_many_tokens_go() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(S, host="h1")
        tokens = [await token(rig) for _ in range(MAX_TOKENS + 1)]
        assert await taken(rig, tokens[0]) is None
        assert await taken(rig, tokens[1]) == S

    on_cloud_rig(test)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), (asked("serial", "novnc"), 400), (asked("x", "serial"), 400), (asked("spice", "spice-html5"), 400), (asked("vnc", "xvpvnc"), 400),
        (asked("mks", "webmks"), 400), ({"remote_console": {"protocol": "vnc"}}, 400), (asked(), 200),
    ],
)  # fmt: skip
def test_what_there_is_no_console_for_is_refused(body: Any, status: int) -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(S, host="h1")
        assert (await rig.ask("POST", PATH, body, version="2.6")).status == status

    on_cloud_rig(test)


def test_only_members_of_the_project_are_given_one_and_only_where_a_guest_is() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server(S, host="h1")
        assert (await rig.ask("POST", PATH, asked())).status == 404
        assert (await rig.ask("POST", PATH, asked(), who=BOB, version="2.6")).status == 404
        assert (await rig.ask("POST", PATH, asked(), who=READER, version="2.6")).status == 403
        for id_, values in (("b" * 32, {"host": ""}), ("c" * 32, {"host": "h1", "vm_state": "stopped"})):
            await rig.add_server(id_, **values)
            assert (await rig.ask("POST", f"/servers/{id_}/remote-consoles", asked(), who=ALICE, version="2.6")).status == 409

    on_cloud_rig(test)
