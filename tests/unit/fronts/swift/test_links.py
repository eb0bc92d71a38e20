"""What links name, and what is refused of them.  Reading through them is in test_symlinks.py."""

import pytest

from objstore.fronts.swift.answers import SwiftRefused
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.fronts.swift.links import TARGET, TARGET_ACCOUNT, TARGET_BYTES, TARGET_ETAG, Place, check_etag, etag_of, listed, target_of
from objstore.objects.api import ObjectInfo

FRONT = SwiftFront(None, None, SwiftSettings(), None, None)  # type: ignore[arg-type]


def info(**headers: str) -> ObjectInfo:
    return ObjectInfo("k", 0, "e-2", 0, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_a_target_is_named_by_container_and_object() -> None:
    place = target_of(FRONT, {TARGET: "c/d%2Fe%20f"}, "me")
    assert place == Place("me", "c", "d/e f", "/v1/AUTH_me/c/d%2Fe%20f")
    place = target_of(FRONT, {TARGET: "c/o", TARGET_ACCOUNT: "AUTH_you", TARGET_ETAG: "e"}, "me")
    assert place == Place("you", "c", "o", "/v1/AUTH_you/c/o", "e")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({TARGET: "c"}, 412),
        ({TARGET: "c/"}, 412),
        ({TARGET: "/o"}, 412),
        ({TARGET: "c/" + "o" * 5000}, 412),
        ({TARGET: "c/o", TARGET_ACCOUNT: "AUTH_a/b"}, 412),
        ({TARGET: "c/o", TARGET_ACCOUNT: "KEY_a"}, 404),
    ],
)
def test_what_names_nothing_is_refused(headers: dict[str, str], status: int) -> None:
    with pytest.raises(SwiftRefused) as refusal:
        target_of(FRONT, headers, "me")
    assert refusal.value.status == status


def test_a_static_link_holds_as_long_as_the_etag_does() -> None:
    place = Place("me", "c", "o", "/v1/AUTH_me/c/o", "e")
    check_etag(place, "e")
    check_etag(Place("me", "c", "o", ""), "other")
    with pytest.raises(SwiftRefused) as refusal:
        check_etag(place, "other")
    assert (refusal.value.status, refusal.value.headers) == (409, [(b"content-location", b"/v1/AUTH_me/c/o")])
    assert etag_of(info()) == "e"  # without S3's count of parts
    assert etag_of(info(x_symlink_target_etag="f")) == "f"


def test_listings_tell_where_links_lead() -> None:
    assert listed(FRONT, info(x_symlink_target="c/o"), "me") == {"symlink_path": "/v1/AUTH_me/c/o"}
    static = info(**{TARGET: "c/o", TARGET_ACCOUNT: "AUTH_you", TARGET_ETAG: "e", TARGET_BYTES: "7"})
    assert listed(FRONT, static, "me") == {"symlink_path": "/v1/AUTH_you/c/o", "symlink_etag": "e", "symlink_bytes": 7}
