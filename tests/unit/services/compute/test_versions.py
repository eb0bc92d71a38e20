"""Versions: what is told, and which one a call has."""

from tests.support.cloud_rig import CloudRig, on_cloud_rig


def test_both_versions_are_told_to_anybody_the_old_one_first() -> None:
    async def test(rig: CloudRig) -> None:
        told = (await rig.ask("GET", "/", who="", prefix="/compute")).body["versions"]
        assert [version["id"] for version in told] == ["v2.0", "v2.1"]
        assert told[1]["min_version"] == "2.1"
        assert told[1]["links"][0]["href"] == "http://compute.test/compute/v2.1/"
        for prefix in ("/compute/v2.1", "/compute/v2.1/", "/compute/v2/"):
            reply = await rig.ask("GET", "", who="", prefix=prefix)
            assert reply.status == 200, prefix
            assert reply.body["version"]["id"] == ("v2.1" if "2.1" in prefix else "v2.0")

    on_cloud_rig(test)


def test_the_request_has_the_same_name_in_both_headers() -> None:
    async def test(rig: CloudRig) -> None:
        headers = (await rig.ask("GET", "/flavors")).headers
        assert headers["x-compute-request-id"] == headers["x-openstack-request-id"]

    on_cloud_rig(test)
