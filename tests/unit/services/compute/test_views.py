"""What documents share."""

import pytest

from objstore.services.compute.views import links, refusal, time_of


@pytest.mark.parametrize(
    ("status", "name"), [(400, "badRequest"), (404, "itemNotFound"), (403, "forbidden"), (413, "overLimit"), (500, "computeFault")]
)
def test_refusals_have_the_names_that_clients_know(status: int, name: str) -> None:
    assert refusal(status, "why") == {name: {"code": status, "message": "why"}}
    assert refusal(status, "")[name]["message"]


def test_times_have_microseconds_and_no_zone() -> None:
    assert time_of(None) is None
    assert time_of(1_000_001) == "1970-01-01T00:00:01.000001"


def test_links_are_of_this_service() -> None:
    assert [link["href"] for link in links("http://c/compute", "flavors", "1")] == [
        "http://c/compute/v2.1/flavors/1",
        "http://c/compute/flavors/1",
    ]
