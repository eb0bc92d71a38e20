import msgspec

from objstore.services.compute.desks import Flavor, PlaceRequest


def test_a_flavor_that_a_server_keeps_is_read_by_later_releases() -> None:
    old = b'{"id":"1","name":"small","vcpus":1,"memory_mb":64,"root_gb":1}'
    assert msgspec.json.decode(old, type=Flavor) == Flavor("1", "small", 1, 64, 1)
    assert msgspec.json.decode(msgspec.json.encode(PlaceRequest("s", "p", 1, 64)), type=PlaceRequest).skip == ()
