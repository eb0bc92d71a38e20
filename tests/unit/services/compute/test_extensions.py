"""The list of extensions."""

from tests.support.cloud_rig import CloudRig, on_cloud_rig


def test_extensions_are_listed_and_found_by_alias() -> None:
    async def test(rig: CloudRig) -> None:
        listed = (await rig.ask("GET", "/extensions")).body["extensions"]
        assert "Hosts" in [one["name"] for one in listed]
        assert (await rig.ask("GET", "/extensions/os-consoles")).body["extension"]["alias"] == "os-consoles"
        assert (await rig.ask("GET", "/extensions/os-cells")).status == 404

    on_cloud_rig(test)
