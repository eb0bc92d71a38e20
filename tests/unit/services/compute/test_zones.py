"""Availability zones."""

from sqlalchemy import update

from objstore.services.compute.cloud_tables import HOSTS
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN


def test_zones_follow_from_hosts() -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask("GET", "/os-availability-zone")).body == {"availabilityZoneInfo": []}
        await rig.report()
        zone = {"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}
        assert (await rig.ask("GET", "/os-availability-zone")).body == {"availabilityZoneInfo": [zone]}
        assert (await rig.ask("GET", "/os-availability-zone/detail")).status == 403
        detail = (await rig.ask("GET", "/os-availability-zone/detail", who=ADMIN)).body["availabilityZoneInfo"]
        assert [one["zoneName"] for one in detail] == ["internal", "nova"]
        assert detail[1]["hosts"]["h1"]["nova-compute"]["available"] is True
        await rig.sql.write(lambda connection: connection.execute(update(HOSTS).values(disabled=True)).rowcount)
        assert (await rig.ask("GET", "/os-availability-zone")).body["availabilityZoneInfo"][0]["zoneState"] == {"available": False}

    on_cloud_rig(test)
