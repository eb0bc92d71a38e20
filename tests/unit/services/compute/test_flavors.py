"""Flavors as they are shown."""

import pytest
from sqlalchemy import Connection

from objstore.services.calls.problems import CallRefused
from objstore.services.compute import flavors
from objstore.services.compute.flavors import FlavorRow, flavor_view, short_view
from tests.support.cloud_rig import CloudRig, on_cloud_rig

FLAVOR = FlavorRow("1", "tiny", None, 1, 512, 10, 0, 0, 1.0, True, {"a": "b"}, 5)


def test_a_flavor_shows_more_in_later_versions() -> None:
    old, described, with_specs, today = (flavor_view(FLAVOR, "http://c", (2, minor)) for minor in (1, 55, 61, 96))
    assert old["swap"] == ""
    assert "description" not in old
    assert described["description"] is None
    assert "extra_specs" not in described
    assert with_specs["extra_specs"] == {"a": "b"}
    assert today["swap"] == 0
    assert set(short_view(FLAVOR, "http://c", (2, 1))) == {"id", "name", "links"}


def test_who_may_use_a_flavor_is_asked_where_it_is_used() -> None:
    async def test(rig: CloudRig) -> None:
        private = FlavorRow("2", "big", None, 1, 512, 10, 0, 0, 1.5, False, {}, 5)

        def work(connection: Connection) -> list[bool]:
            flavors.add_flavor(connection, FLAVOR)
            flavors.add_flavor(connection, private)
            before = flavors.flavor_for(connection, "p", "2", is_admin=False)
            flavors.allow(connection, "2", "p")
            after = flavors.flavor_for(connection, "p", "2", is_admin=False)
            return [before is None, after == private, flavors.flavor_for(connection, "q", "2", is_admin=True) == private]

        assert await rig.sql.write(work) == [True, True, True]
        with pytest.raises(CallRefused, match="name tiny already"):
            await rig.sql.write(
                lambda connection: flavors.add_flavor(connection, FlavorRow("3", "tiny", None, 1, 1, 1, 0, 0, 1.0, True, {}, 5))
            )

    on_cloud_rig(test)
