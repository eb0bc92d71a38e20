"""From what a namespace shows to the lines that change it."""

import json

import pytest

from objstore.services.network.driver import differences
from objstore.services.network.driver.differences import Seen, SeenLink, changes, forwards, missing, removals, seen
from objstore.services.network.driver.plan import Link, Route, Space

BRIDGE = Link(
    "br0", "bridge", "link add name br0 type bridge", mac="0a:00:00:00:00:01", mtu=1450, addresses=frozenset({"10.0.0.1/24", "fd00::1/64"})
)
THERE = SeenLink("br0", "bridge", "0a:00:00:00:00:01", 1450, "", True, frozenset({"10.0.0.1/24", "fd00::1/64", "fe80::1/64"}))
LO = SeenLink("lo", "", "", 65536, "", True, frozenset({"127.0.0.1/8"}))


def test_finished_namespace_needs_nothing() -> None:
    space = Space(
        "n", "ns", (BRIDGE,), frozenset({Route("10.9.0.0/16", "10.0.0.7")}), frozenset({("br0", "10.0.0.5", "52:54:00:00:00:05")})
    )
    now = Seen({"lo": LO, "br0": THERE}, frozenset({Route("10.9.0.0/16", "10.0.0.7", "br0")}), space.neighbours)
    assert (removals(space, now), missing(space, now), changes(space, now), forwards(space, now, "vx0")) == ([], [], [], [])


def test_missing_devices_are_made_and_strangers_removed() -> None:
    now = Seen({"lo": LO, "x1": SeenLink("x1", "veth", "", 1500, "", True, frozenset())})
    space = Space("n", "ns", (BRIDGE, Link("vx0", "vxlan", "link add name vx0", by_host=True), Link("r1", "veth")))
    assert removals(space, now) == ["link del dev x1"]
    assert [link.name for link in missing(space, now)] == ["br0", "vx0"]


def test_device_whose_nature_is_wrong_is_made_anew() -> None:
    link = Link("vx0", "vxlan", "link add name vx0", told=(("id", 7), ("port", 4789)))
    now = Seen({"vx0": SeenLink("vx0", "vxlan", "", 1450, "", True, frozenset(), {"id": 7, "port": 4790})})
    assert removals(Space("n", "ns", (link,)), now) == ["link del dev vx0"]
    assert missing(Space("n", "ns", (link,)), now) == [link]


def test_devices_are_changed_where_they_differ() -> None:
    now = Seen({"br0": SeenLink("br0", "bridge", "0a:00:00:00:00:02", 1500, "br9", False, frozenset({"10.0.0.9/24", "fe80::9/64"}))})
    assert changes(Space("n", "ns", (BRIDGE,)), now) == [
        "link set dev br0 address 0a:00:00:00:00:01 mtu 1450 nomaster",
        "addr del 10.0.0.9/24 dev br0",
        "addr add 10.0.0.1/24 dev br0",
        "addr add fd00::1/64 dev br0 nodad",
        "link set dev br0 up",
    ]


def test_ways_are_replaced_where_their_aim_stays_and_removed_where_not() -> None:
    space = Space("n", "ns", (BRIDGE,), frozenset({Route("10.9.0.0/16", "10.0.0.7"), Route("10.0.0.7/32", device="br0")}))
    now = Seen({"br0": THERE}, frozenset({Route("10.9.0.0/16", "10.0.0.8", "br0"), Route("10.8.0.0/16", "10.0.0.8", "br0")}))
    assert changes(space, now) == [
        "route del 10.8.0.0/16 via 10.0.0.8 dev br0",
        "route replace 10.0.0.7/32 dev br0 proto static",
        "route replace 10.9.0.0/16 via 10.0.0.7 proto static",
    ]


def test_neighbours_and_ends_of_tunnels_are_followed() -> None:
    space = Space(
        "n",
        "ns",
        (BRIDGE,),
        neighbours=frozenset({("br0", "10.0.0.5", "52:54:00:00:00:05")}),
        forwards=frozenset({("00:00:00:00:00:00", "10.1.0.2", 4789), ("52:54:00:00:00:07", "10.1.0.2", 4789)}),
    )
    now = Seen(
        {"br0": THERE},
        neighbours=frozenset({("br0", "10.0.0.6", "52:54:00:00:00:06")}),
        forwards=frozenset({("00:00:00:00:00:00", "10.1.0.3", 5000)}),
    )
    assert changes(space, now) == ["neigh del 10.0.0.6 dev br0", "neigh replace 10.0.0.5 lladdr 52:54:00:00:00:05 dev br0 nud permanent"]
    assert forwards(space, now, "vx0") == [
        "fdb del 00:00:00:00:00:00 dev vx0 dst 10.1.0.3 port 5000",
        "fdb append 00:00:00:00:00:00 dev vx0 dst 10.1.0.2 port 4789",
        "fdb replace 52:54:00:00:00:07 dev vx0 dst 10.1.0.2 port 4789",
    ]


def test_what_ip_shows_is_read() -> None:
    links = [{"ifname": "vx0", "flags": ["UP"], "mtu": 1450, "address": "aa:bb:cc:dd:ee:ff", "master": "br0", "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 7}},
              "addr_info": [{"local": "10.0.0.1", "prefixlen": 24}]}]  # fmt: skip
    routes = [{"dst": "default", "gateway": "10.0.0.1", "dev": "g", "protocol": "static"}, {"dst": "10.0.0.0/24", "dev": "g", "protocol": "kernel"},
              {"dst": "10.5.0.5", "dev": "g", "protocol": "static"}]  # fmt: skip
    neighbours = [{"dst": "10.0.0.5", "dev": "br0", "lladdr": "52:54:00:00:00:05", "state": ["PERMANENT"]}]
    fdb = [
        {"mac": "00:00:00:00:00:00", "state": "permanent", "dst": "10.1.0.2"},
        {"mac": "00:00:00:00:00:00", "state": "permanent", "dst": "10.1.0.3", "port": 5000},
        {"mac": "52:54:00:00:00:05", "dst": "10.1.0.3"},
    ]
    shown = "\n".join(json.dumps(d) for d in (links, routes, neighbours)).encode()
    found = seen(shown, b'[{"dst":"default","gateway":"fd00::1","dev":"g","protocol":"static"}]', json.dumps(fdb).encode(), 4789)
    assert found.links["vx0"] == SeenLink("vx0", "vxlan", "aa:bb:cc:dd:ee:ff", 1450, "br0", True, frozenset({"10.0.0.1/24"}), {"id": 7})
    assert found.routes == {Route("0.0.0.0/0", "10.0.0.1", "g"), Route("10.5.0.5/32", "", "g"), Route("::/0", "fd00::1", "g")}
    assert found.neighbours == {("br0", "10.0.0.5", "52:54:00:00:00:05")}
    assert found.forwards == {("00:00:00:00:00:00", "10.1.0.2", 4789), ("00:00:00:00:00:00", "10.1.0.3", 5000)}


def test_answers_that_are_no_json_are_errors_not_empty_namespaces() -> None:
    for shown in (b"oops", b"[{]", b"[] x"):
        with pytest.raises(ValueError):
            seen(shown, b"", b"", 4789)
    assert differences.SHOW.endswith("\n")
