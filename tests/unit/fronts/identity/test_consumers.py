"""Consumers of OAuth 1."""

from objstore.identity.tenancy import Consumer
from tests.support.identity_rig import Rig, on_rig


def test_a_consumer_shows_its_secret_once_and_keeps_it_sealed() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        made = await rig.made(root, "/OS-OAUTH1/consumers", "consumer", description="a program", secret="mine")
        assert len(made["secret"]) == 64
        path = f"/OS-OAUTH1/consumers/{made['id']}"
        shown = (await rig.ask("GET", path, token=root)).body["consumer"]
        assert "secret" not in shown
        assert shown["links"] == made["links"]
        kept = rig.registry.get(Consumer, made["id"])
        assert kept is not None
        assert made["secret"].encode() not in kept.sealed
        assert made["secret"] not in repr(kept)
        changed = await rig.ask("PATCH", path, {"consumer": {"description": "another"}}, token=root)
        assert changed.body["consumer"]["description"] == "another"
        assert (await rig.ask("PATCH", path, {"consumer": {"secret": "mine"}}, token=root)).status == 400
        assert [c["id"] for c in (await rig.ask("GET", "/OS-OAUTH1/consumers", token=root)).body["consumers"]] == [made["id"]]
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404

    on_rig(test)
