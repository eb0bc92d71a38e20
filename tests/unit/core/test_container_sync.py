"""Container sync: which peers may be named, what is signed, how times are told."""

import pytest

from objstore.core.container_sync import Realm, SyncPeer, is_newer, is_signed, parse_realms, parse_stamp, peer_of, sign, stamp_of
from objstore.errors import InvalidArgument, InvalidRequest

TEXT = "[DEFAULT]\nmtime_check_interval = 5\n[us]\nkey = k%1\nKEY2 = k2\ncluster_dfw1 = http://dfw1.host/v1/\n[empty]\nkey = x\n"
REALMS = parse_realms(TEXT)
HOSTS = ("peer.test", "other.test:8080", "::1")


def test_realms_are_read_as_swift_has_them_whatever_the_case() -> None:
    assert {"US": Realm("k%1", "k2", {"DFW1": "http://dfw1.host/v1"}), "EMPTY": Realm("x")} == REALMS
    assert "k%1" not in repr(REALMS)


@pytest.mark.parametrize(
    "text",
    [
        "key = outside",
        "[us]\ncluster_a = http://h/v1/\n",
        "[us]\nkey = secret\ncluster_a = ftp://h/v1\n",
        "[us]\nkey = secret\ncluster_a = http://user:pw@h/v1\n",
        "[us]\nkey = secret\nkey = secret\n",
        "[us\nkey",
    ],
)
def test_a_file_that_is_none_is_refused_without_telling_keys(text: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        parse_realms(text)
    assert "secret" not in refusal.value.message


def test_a_peer_is_named_by_realm_and_cluster_or_by_a_host_of_the_list() -> None:
    assert peer_of("//US/dfw1/AUTH_a/c%20d/", REALMS, ()) == SyncPeer("http://dfw1.host", "/v1/AUTH_a/c%20d", "US", "k%1")
    assert peer_of("//us/DFW1/AUTH_a/grün", REALMS, ()).path == "/v1/AUTH_a/gr%C3%BCn"
    assert peer_of("http://peer.test/v1/AUTH_a/c", REALMS, HOSTS) == SyncPeer("http://peer.test", "/v1/AUTH_a/c")
    assert peer_of("https://peer.test:443/v1/a/c", REALMS, HOSTS).base == "https://peer.test:443"
    assert peer_of("http://other.test:8080/v1/a/c", REALMS, HOSTS).realm == ""


@pytest.mark.parametrize(
    "value",
    [
        "//us/dfw1/a", "//us/dfw1/a/c/o", "//no/dfw1/a/c", "//us/no/a/c", "//us/dfw1//c", "//us/dfw1/../c", "//us/dfw1/a/%2e%2e",
        "//us/dfw1/a/c%2Fd", "//us/dfw1/a/c\r\nX: y", "//us/dfw1/a/" + "c" * 3000, "file:///etc/passwd", "gopher://peer.test/v1/a/c",
        "http://169.254.169.254/v1/a/c", "http://localhost/v1/a/c", "http://peer.test:8080/v1/a/c", "http://other.test/v1/a/c",
        "http://peer.test", "http://peer.test/v1/a/c?x=y", "http://peer.test/v1/a/c#f", "http://peer.test@evil.test/v1/a/c",
        "http://u:p@peer.test/v1/a/c", "http://peer.test/admin/a/c", "http://peer.test/v1/a", "http://peer.test/v1/a/c/o", "http://peer.test:x/v1/a/c",
        "http://[::1/v1/a/c", "a/c", "/", "http:///v1/a/c", "http://0x7f.1/v1/a/c",
    ],
)  # fmt: skip
def test_nothing_else_is_asked_for(value: str) -> None:
    with pytest.raises(InvalidRequest):
        peer_of(value, REALMS, HOSTS)


def test_signatures_are_swifts() -> None:
    # HMAC-SHA1 of the five lines under the realm's key, as openssl has it.
    wanted = "096165ce0f945eaab6dd70c7ad031ffc085259ae"
    assert wanted == sign("PUT", "/v1/a/c/o", "1234567890.12345", "n", realm_key="realm", user_key="user")
    realm = Realm("realm", "next")
    for key in ("realm", "next"):
        good = sign("PUT", "/p", "1", "n", realm_key=key, user_key="u")
        assert is_signed(good, "PUT", "/p", "1", "n", realm=realm, user_key="u")
    for change in (("DELETE", "/p", "1", "n"), ("PUT", "/q", "1", "n"), ("PUT", "/p", "2", "n"), ("PUT", "/p", "1", "m")):
        assert not is_signed(good, *change, realm=realm, user_key="u")
    assert not is_signed(good, "PUT", "/p", "1", "n", realm=realm, user_key="other")
    assert not is_signed(good, "PUT", "/p", "1", "n", realm=Realm("realm"), user_key="u")
    assert not is_signed("\udcff", "PUT", "/p", "1", "n", realm=realm, user_key="u")


def test_times_are_told_in_steps_of_ten_microseconds() -> None:
    assert stamp_of(1_700_000_000_123_456) == "1700000000.12345"
    assert stamp_of(5_000_010) == "0000000005.00001"
    assert parse_stamp("1700000000.12345") == 1_700_000_000_123_450
    assert parse_stamp(" 1700000000 ") == 1_700_000_000_000_000
    assert parse_stamp("1700000000.1_0000000000000001") == 1_700_000_000_100_000
    assert [parse_stamp(text) for text in ("", "-1", "1e9", "nan", "99999999999", "1.2.3", "\uff11")] == [None] * 7
    assert is_newer(1_000_010, 1_000_009)
    assert not is_newer(1_000_009, 1_000_000)
