"""The application's routes."""

from tests.support.image_rig import ImageRig, on_image_rig

KINDS = ("application/json", "application/octet-stream", "application/openstack-images-v2.1-json-patch")


def test_every_route_but_the_versions_needs_a_token() -> None:
    async def test(rig: ImageRig) -> None:
        for (method, template), _ in rig.app._routes_of(rig.service).items():
            path = template.replace("{", "").replace("}", "")
            reply = await rig.ask(method, path, token="")
            assert reply.status == (300 if path in ("/", "/v2") else 200 if path == "/versions" else 401), path

    on_image_rig(test)


def test_anything_sent_anywhere_is_answered_in_order() -> None:
    async def test(rig: ImageRig) -> None:
        bodies = (b"", b"{", b"[]", b"null", b'{"method":[]}', b"\xff" * 10, b"[" * 1000, b'{"a":' * 50 + b"1" + b"}" * 50, b"1" * 400)
        for method, template in rig.app._routes_of(rig.service):
            path = template.replace("{image_id}", await rig.made()).replace("{", "").replace("}", "")
            for number, body in enumerate(bodies if method in ("POST", "PUT", "PATCH") else bodies[:1]):
                reply = await rig.ask(method, path, body, headers={"content-type": KINDS[number % 3], "range": "bytes=9-"})
                assert reply.status < 500, (method, path, body, reply.raw)
                assert reply.headers["x-openstack-request-id"].startswith("req-")

    on_image_rig(test)
