"""Finding what serves a path."""

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.calls.routes import Routes, split

TABLE = {
    ("GET", "/"): "root",
    ("GET", "/a/{id}"): "one",
    ("PUT", "/a/{id}"): "put",
    ("GET", "/a/new"): "new",
    ("GET", "/a/{id}/b/{name}"): "deep",
}


def test_a_literal_goes_before_a_parameter() -> None:
    routes = Routes(TABLE)
    assert routes.find([]) == ({"GET": ("/", [], "root")}, [])
    found = routes.find(["a", "new"])
    assert found is not None
    assert found[0]["GET"][2] == "new"
    found = routes.find(["a", "7"])
    assert found is not None
    assert (sorted(found[0]), found[1]) == (["GET", "PUT"], ["7"])
    found = routes.find(["a", "new", "b", "x"])
    assert found is not None
    assert (found[0]["GET"][1:], found[1]) == ((["id", "name"], "deep"), ["new", "x"])


def test_what_is_not_routed_is_not_found() -> None:
    for pieces in (["b"], ["a"], ["a", "7", "c"], ["{}"], ["a", "7", "b"]):
        assert Routes(TABLE).find(pieces) is None


def test_paths_are_split_before_they_are_decoded() -> None:
    assert split(b"/a%2Fb//c?d") == ["a/b", "c"]
    for raw in (b"/%ff", b"/%00", b"/" + b"a" * 9000):
        with pytest.raises(CallRefused):
            split(raw)
    with pytest.raises(CallRefused) as caught:
        split(b"/a" * 13)
    assert caught.value.status == 404
