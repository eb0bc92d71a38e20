"""The gate of microversions."""

import pytest

from objstore.services.calls.microversions import Range, shown
from objstore.services.calls.problems import CallRefused
from tests.unit.services.calls.test_call import call

VOLUME = Range("volume", (3, 0), (3, 64))
COMPUTE = Range("compute", (2, 1), (2, 90), legacy="X-OpenStack-Nova-API-Version")


@pytest.mark.parametrize(
    ("header", "version"),
    [("", (3, 0)), ("volume 3.27", (3, 27)), ("volume latest", (3, 64)), ("compute 2.5, volume 3.1", (3, 1)), ("compute 2.5", (3, 0))],
)
def test_a_call_gets_the_version_that_it_asks_for_and_is_told(header: str, version: tuple[int, int]) -> None:
    one = call(headers={"openstack-api-version": header})
    assert VOLUME.of(one) == version
    assert (b"openstack-api-version", f"volume {shown(version)}".encode()) in one.answered
    assert (b"vary", b"openstack-api-version") in one.answered


@pytest.mark.parametrize(
    ("header", "status"), [("volume 3.65", 406), ("volume 2.9", 406), ("volume 3", 400), ("volume x.y", 400), ("volume 3.01", 400)]
)
def test_versions_beyond_the_range_are_406(header: str, status: int) -> None:
    with pytest.raises(CallRefused) as caught:
        VOLUME.of(call(headers={"openstack-api-version": header}))
    assert caught.value.status == status


def test_a_service_may_have_an_older_header_too() -> None:
    one = call(headers={"x-openstack-nova-api-version": "2.60"})
    assert COMPUTE.of(one) == (2, 60)
    assert (b"x-openstack-nova-api-version", b"2.60") in one.answered
