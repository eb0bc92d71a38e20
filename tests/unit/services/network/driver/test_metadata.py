"""What guests read."""

import json

from objstore.services.network.driver.api import Metadata
from objstore.services.network.driver.metadata import Found, answer

KNOWN = Metadata(
    "1b2c3d4e-0000-0000-0000-000000000000", "web",
    metadata={"uuid": "1b2c", "hostname": "web.local", "public_keys": {"b": "ssh-rsa B", "a": "ssh-rsa A"}, "availability_zone": "z1"},
    user_data=b"#!/bin/sh\n\xff", network_data={"links": []},
)  # fmt: skip


def get(path: str, known: Metadata = KNOWN, method: str = "GET") -> Found:
    return answer(method, path, known, "10.0.0.5")


def test_documents_of_openstack_are_the_servers() -> None:
    assert json.loads(get("/openstack/latest/meta_data.json").body)["hostname"] == "web.local"
    assert get("/openstack/2018-08-27/network_data.json").body == b'{"links":[]}'
    assert get("/openstack/latest/user_data").body == b"#!/bin/sh\n\xff"
    assert get("/openstack/latest/vendor_data.json").body == b"{}"
    assert get("/openstack/latest/vendor_data2.json").body == b"{}"


def test_versions_have_what_there_was_then() -> None:
    assert b"2012-08-10" in get("/openstack").body
    assert get("/openstack/2012-08-10/network_data.json").status == 404
    assert get("/openstack/2012-08-10/").body == b"meta_data.json\npassword\nuser_data"
    assert get("/openstack/2011-01-01/meta_data.json").status == 404


def test_tree_of_amazon_is_listed_and_read() -> None:
    assert get("/").body.endswith(b"latest")
    assert get("/latest").body == b"meta-data/\nuser-data"
    listed = get("/latest/meta-data/").body.decode().split("\n")
    assert {"instance-id", "local-ipv4", "public-keys/", "placement/"} <= set(listed)
    assert get("/2009-04-04/meta-data/instance-id").body == b"i-1b2c3d4e"
    assert get("/latest/meta-data/local-ipv4").body == b"10.0.0.5"
    assert get("/latest/meta-data/placement/availability-zone").body == b"z1"


def test_keys_are_numbered() -> None:
    assert get("/latest/meta-data/public-keys/").body == b"0=a\n1=b"
    assert get("/latest/meta-data/public-keys/1/openssh-key").body == b"ssh-rsa B"
    assert get("/latest/meta-data/public-keys/2/openssh-key").status == 404
    assert get("/latest/meta-data/public-keys", Metadata("s", "n", metadata={"public_keys": "junk"})).status == 404


def test_what_is_not_there_is_not_found() -> None:
    for path in (
        "/x",
        "/latest/x",
        "/openstack/latest/x",
        "/latest/meta-data/hostname/x",
        "/openstack/latest/user_data/x",
        "/" + "a/" * 100,
    ):
        assert get(path).status == 404
    assert get("/openstack/latest/user_data", Metadata("s", "n")).status == 404
    assert get("/latest/user-data", Metadata("s", "n")).status == 404


def test_nothing_can_be_written() -> None:
    assert get("/openstack/latest/password", method="POST").status == 403
    assert get("/openstack/latest/password").body == b""
    assert get("/latest/meta-data/", method="PUT").status == 405
