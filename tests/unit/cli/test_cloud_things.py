"""What a new cloud has in it: made once, found again, and only what is missing is made."""

from collections.abc import Iterator

import pytest

from objstore.cli.cloud_api import CloudApi
from objstore.cli.cloud_guest import tiny_image
from objstore.cli.cloud_things import FLAVORS, find_image, make_things, wait_for_hosts
from tests.support.answers import answering
from tests.support.cloud_twin import PASSWORD, Services


@pytest.fixture
def services() -> Iterator[Services]:
    twin = Services()
    with answering(twin) as url:
        twin.url = url
        yield twin


def login(services: Services) -> CloudApi:
    return CloudApi(f"{services.url}/identity/v3", user="admin", project="admin", password=PASSWORD)


def test_everything_is_made_once(services: Services) -> None:
    api = login(services)
    made = make_things(api, public_key="ssh-ed25519 AAAA x")
    assert made[: len(FLAVORS)] == [f"flavor {name}" for name in FLAVORS]
    assert "image tiny" in made
    assert "security group default lets in tcp to port 22" in made
    assert make_things(api, public_key="ssh-ed25519 AAAA x") == []


def test_the_image_is_there_with_its_bytes(services: Services) -> None:
    api = login(services)
    make_things(api, public_key="k")
    image = find_image(api, "tiny")
    assert image is not None
    assert services.bytes[image["id"]] == tiny_image()


def test_networks_lead_outside(services: Services) -> None:
    make_things(login(services), public_key="k")
    public, private = services.things["networks"]
    assert (public["name"], public["router:external"], private["name"]) == ("public", True, "private")
    assert services.things["routers"][0]["external_gateway_info"] == {"network_id": public["id"]}
    assert [port["network_id"] for port in services.things["ports"]] == [private["id"]]


def test_what_somebody_took_away_comes_again_and_nothing_else(services: Services) -> None:
    api = login(services)
    make_things(api, public_key="k")
    services.things["keypairs"].clear()
    services.things["flavors"] = [flavor for flavor in services.things["flavors"] if flavor["name"] != "m1.tiny"]
    assert make_things(api, public_key="k") == ["flavor m1.tiny", "key pair objstore"]


def test_a_flavor_whose_id_is_another_ones_gets_one_of_its_own(services: Services) -> None:
    services.things["flavors"] = [{"id": "42", "name": "mine"}]
    make_things(login(services), public_key="k")
    assert {flavor["name"]: flavor["id"] for flavor in services.things["flavors"]}["m1.nano"] not in ("42", None)


def test_hosts_are_waited_for(services: Services) -> None:
    wait_for_hosts(login(services), 1)
