"""Making, changing, removing under rivals."""

import asyncio

from tests.support.identity_rig import Rig, on_rig
from tests.support.memory_cluster import MemoryCluster, run


def test_of_many_who_make_the_same_one_does_and_the_others_hear_409() -> None:
    async def test() -> None:
        one = Rig()
        two = Rig(MemoryCluster(one.cluster.registers, proxy_id=2))
        root = await one.admin()
        rigs = [one, two]
        replies = await asyncio.gather(
            *(rigs[n % 2].ask("POST", "/projects", {"project": {"name": "same"}}, token=root) for n in range(16))
        )
        assert sorted(reply.status for reply in replies) == [201] + [409] * 15
        id_ = next(reply.body["project"]["id"] for reply in replies if reply.status == 201)
        replies = await asyncio.gather(*(rigs[n % 2].ask("DELETE", f"/projects/{id_}", token=root) for n in range(16)))
        assert sorted(reply.status for reply in replies) == [204] + [404] * 15

    run(test())


def test_eight_clients_make_and_remove_a_thousand_things_without_one_500_and_nothing_is_left() -> None:
    async def test() -> None:
        first = Rig()
        rigs = [first, Rig(MemoryCluster(first.cluster.registers, proxy_id=2))]
        root = await first.admin()
        role = first.registry.role_named("member")
        assert role is not None
        seen: list[int] = []

        async def client(number: int) -> None:
            rig = rigs[number % 2]
            for round_ in range(42):
                name = f"{number}-{round_}"
                project = await rig.made(root, "/projects", "project", name=name)
                user = await rig.made(root, "/users", "user", name=name)
                path = f"/projects/{project['id']}/users/{user['id']}/roles/{role.id}"
                for method, target in (("PUT", path), ("HEAD", path), ("DELETE", path), ("PUT", path)):
                    seen.append((await rig.ask(method, target, token=root)).status)
                for target in (f"/users/{user['id']}", f"/projects/{project['id']}"):
                    seen.append((await rig.ask("DELETE", target, token=root)).status)

        await asyncio.gather(*(client(number) for number in range(8)))
        assert set(seen) == {204}
        for rig in rigs:
            await rig.registry.feed.catch_up()
            assert {kind: len(table.held) for kind, table in rig.registry.feed.tables.items() if table.held} == {}

    run(test())


def test_a_change_of_what_went_is_404() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        project = await rig.made(root, "/projects", "project", name="p")
        replies = await asyncio.gather(
            rig.ask("DELETE", f"/projects/{project['id']}", token=root),
            rig.ask("PATCH", f"/projects/{project['id']}", {"project": {"description": "x"}}, token=root),
        )
        assert replies[0].status == 204
        assert replies[1].status in (200, 404)

    on_rig(test)
