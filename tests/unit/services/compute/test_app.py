"""The application's routes."""

import re

from objstore.services.compute.app import OPEN
from tests.support.cloud_rig import CloudRig, on_cloud_rig


def test_every_route_but_the_open_ones_needs_a_token() -> None:
    async def test(rig: CloudRig) -> None:
        for method, template in rig.app.routes_of(rig.service):
            reply = await rig.ask(method, re.sub(r"[{}]", "", template), who="", prefix="/compute")
            assert (reply.status != 401) == ((method, template) in OPEN and "agents" not in template), (method, template, reply.raw)

    on_cloud_rig(test)


def test_anything_sent_anywhere_is_answered_in_order() -> None:
    async def test(rig: CloudRig) -> None:
        bodies = (b"", b"{", b"[]", b"null", b"\xff" * 10, b"[" * 1000, b'{"a":' * 50 + b"1" + b"}" * 50, b"1" * 400)
        for method, template in rig.app.routes_of(rig.service):
            path = re.sub(r"[{}]", "", template)
            for who in ("alice", "admin"):
                for body in bodies if method in ("POST", "PUT") else bodies[:1]:
                    for version in ("", "latest"):
                        reply = await rig.ask(method, path, body, who=who, version=version, prefix="/compute")
                        assert reply.status < 500 or reply.status == 501, (method, path, body, reply.raw)

    on_cloud_rig(test)


def test_old_addresses_lead_to_the_same_things() -> None:
    async def test(rig: CloudRig) -> None:
        known = {template for _, template in rig.app.routes_of(rig.service)}
        for prefix in ("/compute/v2.1/" + "a" * 32, "/compute/v2/" + "a" * 32, "/compute/v2", "/v2.1/" + "a" * 32):
            reply = await rig.ask("GET", "/nowhere", prefix=prefix)
            assert reply.status == 404, known

    on_cloud_rig(test)
