"""Names tell whose a thing is, and fit into what a kernel takes."""

import pytest

from objstore.services.network.driver import names
from objstore.services.network.driver.names import Names

MAC = "fa:16:3e:00:00:01"


def test_devices_have_at_most_fifteen_characters_at_the_highest_numbers() -> None:
    top = 2**24 - 1
    made = [
        names.tap("f" * 32),
        names.router_end(top, MAC),
        names.gateway_end(top, MAC),
        names.bridge_end(top, MAC),
        Names("abcdef").outside(top),
    ]
    assert max(map(len, made)) <= 15
    assert len(set(made)) == len(made)


def test_things_of_one_tag_are_never_those_of_another() -> None:
    tags = ["a", "ax", "a1", "ax1", "x", "xx", "n1", "r"]
    for mine in map(Names, tags):
        for other in map(Names, tags):
            for number in (1, 16, 0xABCDE):
                assert mine.is_namespace(other.network(number)) == mine.is_namespace(other.router(number)) == (mine == other)
                assert mine.is_outside(other.outside(number)) == (mine == other)


def test_strangers_are_not_taken_for_ours() -> None:
    mine = Names("abc")
    for name in ("objstore-abc-n", "objstore-abc-n1x", "objstore-abcd-n1", "xobjstore-abc-n1", "objstore-abc-n1\n", "eth0"):
        assert not mine.is_namespace(name)
    for name in ("oabcx", "oabcxg", "oabcx1234567", "eth0"):
        assert not mine.is_outside(name)


def test_tag_is_the_same_at_each_start_and_another_for_another_host() -> None:
    assert names.tag_of("c", "h1") == names.tag_of("c", "h1") != names.tag_of("c", "h2")
    assert Names(names.tag_of("c", "h1")).tag


def test_tag_that_could_break_a_name_is_refused() -> None:
    for tag in ("", "A", "a-b", "toolong"):
        with pytest.raises(ValueError):
            Names(tag)


def test_namespaces_are_files() -> None:
    assert names.namespace_path("n") == "/run/netns/n"
    assert Names("abc").table == "objstore_abc"
