"""Storage policies of containers: chosen when they are made, shown, and the place of their objects' bodies."""

import time
from collections.abc import Iterator

import pytest

from tests.support.s3_server import Running
from tests.support.swift_server import OTHER, RESELLER, Swift, swift_serving

LARGE = bytes(range(256)) * 1000
CLASSES = {"COLD": "cold", "GLACIER_IR": "dark", "STANDARD_IA": "cold"}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with swift_serving(classes=CLASSES) as server:
        yield server


@pytest.fixture
def swift(running: Running) -> Swift:
    return Swift(running)


def blobs(running: Running, policy: str) -> int:
    return len(running.rings[policy].registers.blobs)


def test_a_container_is_in_the_policy_that_it_was_made_in(running: Running, swift: Swift) -> None:
    assert swift("PUT", "cold", X_Storage_Policy="Cold").status == 201
    assert swift("PUT", "plain").status == 201
    assert swift("PUT", "named", X_Storage_Policy="default").status == 201
    shown = {name: swift("HEAD", name).headers["x-storage-policy"] for name in ("cold", "plain", "named")}
    assert shown == {"cold": "cold", "plain": "default", "named": "default"}
    for name in ("cold", "plain"):
        assert swift("PUT", f"{name}/o", LARGE).status == 201
        assert swift("GET", f"{name}/o").body == LARGE
        assert swift("GET", f"{name}/o", Range="bytes=300-999").body == LARGE[300:1000]
    assert blobs(running, "cold") == 1
    assert swift("COPY", "plain/o", Destination="cold/copy").status == 201
    assert blobs(running, "cold") == 2
    assert swift("GET", "cold/copy").body == LARGE


def test_a_policy_is_kept_for_life(swift: Swift) -> None:
    assert swift("PUT", "stays", X_Storage_Policy="cold").status == 201
    assert swift("PUT", "stays").status == 202
    assert swift("PUT", "stays", X_Storage_Policy="COLD").status == 202
    for other in ("dark", "default"):
        assert swift("PUT", "stays", X_Storage_Policy=other).status == 409
    assert swift("POST", "stays", X_Container_Meta_A="b", X_Storage_Policy="cold").status == 204
    assert swift("HEAD", "stays").headers["x-storage-policy"] == "cold"
    assert swift("PUT", "other").status == 201
    assert swift("PUT", "other", X_Storage_Policy="cold").status == 409


def test_a_policy_that_is_not_there_is_refused(swift: Swift) -> None:
    reply = swift("PUT", "none", X_Storage_Policy="warm")
    assert (reply.status, b"warm" in reply.body) == (400, True)
    assert swift("HEAD", "none").status == 404


def test_all_policies_are_listed_and_accounts_count_by_policy(running: Running) -> None:
    swift = Swift(running).at("test")
    assert swift.raw("GET", "/info").json["swift"]["policies"] == [
        {"name": "default", "default": True, "aliases": "default"}, {"name": "cold", "aliases": "cold"}, {"name": "dark", "aliases": "dark"},
    ]  # fmt: skip
    before = swift("HEAD").headers
    assert swift("PUT", "counted", X_Storage_Policy="dark").status == 201
    assert swift("PUT", "counted/o", b"12345").status == 201
    after = swift("HEAD").headers
    assert "x-account-storage-policy-dark-container-count" not in before
    names = [f"x-account-storage-policy-dark-{what}" for what in ("container-count", "object-count", "bytes-used")]
    assert [after[name] for name in names] == ["1", "1", "5"]
    for what in ("container-count", "object-count", "bytes-used"):
        default = f"x-account-storage-policy-default-{what}"
        assert after[default] == before[default]
        shown = [int(value) for name, value in after.items() if name.startswith("x-account-storage-policy-") and name.endswith(what)]
        assert sum(shown) == int(after[f"x-account-{what}"])


def test_segments_and_large_objects_stay_in_the_policy_of_their_container(running: Running, swift: Swift) -> None:
    assert swift("PUT", "segments", X_Storage_Policy="dark").status == 201
    assert swift("PUT", "segments/1", LARGE).status == 201
    before = blobs(running, "dark")
    assert swift("PUT", "manifests").status == 201
    body = b'[{"path": "/segments/1"}, {"path": "/segments/1"}]'
    assert swift("PUT", "manifests/m", body, query="multipart-manifest=put").status == 201
    assert swift("GET", "manifests/m").body == LARGE + LARGE
    assert blobs(running, "dark") == before


def test_a_quota_of_a_policy_binds_its_containers_alone(running: Running) -> None:
    owner, reseller = Swift(running, OTHER), Swift(running, RESELLER).at("test2")
    owner("PUT", "in-cold", X_Storage_Policy="cold")
    owner("PUT", "in-default")
    assert owner("POST", X_Account_Quota_Count_Policy_Cold="1").status == 403
    assert owner("POST", X_Remove_Account_Quota_Bytes_Policy_Cold="1").status == 403
    assert reseller("POST", X_Account_Quota_Count_Policy_Warm="1").status == 400
    assert reseller("POST", X_Account_Quota_Count_Policy_Cold="x").status == 400
    assert reseller("POST", X_Account_Quota_Count_Policy_Cold="1", X_Account_Quota_Bytes_Policy_Default="500000").status == 204
    headers = owner("HEAD").headers
    assert (headers["x-account-quota-count-policy-cold"], headers["x-account-quota-bytes-policy-default"]) == ("1", "500000")
    time.sleep(1.1)  # a quota binds what begins a second after it was set
    assert owner("PUT", "in-cold/a", LARGE).status == 201
    refused = owner("PUT", "in-cold/b", b"x")
    assert (refused.status, b"Upload exceeds policy quota" in refused.body) == (413, True)
    assert owner("PUT", "in-cold/a", b"smaller").status == 201
    assert owner("PUT", "in-default/a", LARGE).status == 201
    assert owner("PUT", "in-default/b", LARGE).status == 413
    assert reseller("POST", X_Remove_Account_Quota_Count_Policy_Cold="x").status == 204
    assert "x-account-quota-count-policy-cold" not in owner("HEAD").headers
    time.sleep(1.1)
    assert owner("PUT", "in-cold/b", b"x").status == 201
