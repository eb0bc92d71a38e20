"""Key pairs."""

from typing import Any

import pytest

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, ALICE, BOB
from tests.unit.services.compute.test_ssh_keys import KNOWN


def pair(name: str = "k", **fields: Any) -> Any:
    return {"keypair": {"name": name, **fields}}


def test_a_pair_is_made_told_once_shown_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        reply = await rig.ask("POST", "/os-keypairs", pair())
        assert reply.status == 200
        made = reply.body["keypair"]
        assert "OPENSSH PRIVATE KEY" in made["private_key"]
        assert made["user_id"] == rig.user_id(ALICE)
        shown = (await rig.ask("GET", "/os-keypairs/k")).body["keypair"]
        assert shown["public_key"] == made["public_key"]
        assert "private_key" not in shown
        assert shown["deleted"] is False
        assert "type" not in shown
        assert (await rig.ask("GET", "/os-keypairs")).body["keypairs"][0]["keypair"]["fingerprint"] == made["fingerprint"]
        assert (await rig.ask("GET", "/os-keypairs", who=BOB)).body == {"keypairs": []}
        assert (await rig.ask("GET", "/os-keypairs/k", who=BOB)).status == 404
        assert (await rig.ask("POST", "/os-keypairs", pair())).status == 409
        assert (await rig.ask("DELETE", "/os-keypairs/k")).status == 202
        assert (await rig.ask("DELETE", "/os-keypairs/k", version="2.2")).status == 404

    on_cloud_rig(test)


def test_a_public_key_is_imported() -> None:
    async def test(rig: CloudRig) -> None:
        reply = await rig.ask("POST", "/os-keypairs", pair(public_key=KNOWN, type="ssh"), version="2.2")
        assert reply.status == 201
        assert "private_key" not in reply.body["keypair"]
        assert reply.body["keypair"]["type"] == "ssh"
        assert (await rig.ask("DELETE", "/os-keypairs/k", version="2.2")).status == 204
        assert (await rig.ask("POST", "/os-keypairs", pair(), version="2.92")).status == 400
        certificate = (await rig.ask("POST", "/os-keypairs", pair(type="x509"), version="2.2")).body["keypair"]
        assert "BEGIN CERTIFICATE" in certificate["public_key"]
        assert "PRIVATE KEY" in certificate["private_key"]
        again = await rig.ask("POST", "/os-keypairs", pair("l", type="x509", public_key=certificate["public_key"]), version="2.2")
        assert again.body["keypair"]["fingerprint"] == certificate["fingerprint"]

    on_cloud_rig(
        test,
    )


@pytest.mark.parametrize(
    "body",
    [
        pair(""), pair(" "), pair("a" * 256), pair("!@#"), pair("k", public_key=""), pair("k", public_key="ssh-rsa JUNK nova@ubuntu"),
        pair("k", public_key=None), pair("k", strange=1), pair("k", type="ssh"), {"keypair": {}}, {}, {"keypair": []},
    ],
)  # fmt: skip
def test_what_no_pair_can_be_is_refused(body: Any) -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask("POST", "/os-keypairs", body)).status == 400
        assert (await rig.ask("GET", "/os-keypairs")).body == {"keypairs": []}

    on_cloud_rig(test)


def test_administrators_have_the_keys_of_others() -> None:
    async def test(rig: CloudRig) -> None:
        alice = rig.user_id(ALICE)
        body = pair(public_key=KNOWN, user_id=alice)
        assert (await rig.ask("POST", "/os-keypairs", body, who=BOB, version="2.10")).status == 403
        assert (await rig.ask("POST", "/os-keypairs", body, who=ADMIN, version="2.10")).status == 201
        assert (await rig.ask("GET", "/os-keypairs/k")).status == 200
        assert (await rig.ask("GET", f"/os-keypairs/k?user_id={alice}", who=ADMIN, version="2.10")).status == 200
        assert (await rig.ask("GET", f"/os-keypairs?user_id={alice}", who=BOB, version="2.10")).status == 403
        assert (await rig.ask("GET", f"/os-keypairs?user_id={alice}", who=BOB)).body == {"keypairs": []}

    on_cloud_rig(test)


def test_lists_have_pages_and_users_a_quota() -> None:
    async def test(rig: CloudRig) -> None:
        for name in ("a", "b", "c"):
            await rig.ask("POST", "/os-keypairs", pair(name, public_key=KNOWN))
        reply = await rig.ask("GET", "/os-keypairs?limit=2", version="2.35")
        assert [entry["keypair"]["name"] for entry in reply.body["keypairs"]] == ["a", "b"]
        assert reply.body["keypairs_links"][0]["href"].endswith("/os-keypairs?limit=2&marker=b")
        rest = await rig.ask("GET", "/os-keypairs?limit=2&marker=b", version="2.35")
        assert [entry["keypair"]["name"] for entry in rest.body["keypairs"]] == ["c"]
        assert (await rig.ask("GET", "/os-keypairs?marker=x", version="2.35")).status == 400
        reply = await rig.ask("POST", "/os-keypairs", pair("d", public_key=KNOWN))
        assert reply.status == 403
        assert reply.body["forbidden"]["message"] == "Quota exceeded, too many key pairs."

    on_cloud_rig(test, quota_key_pairs=3)
