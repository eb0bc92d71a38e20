import pytest

from objstore.core import acl
from objstore.core.acl import Acl, Grant, Permission, PublicAccessBlock, Seeker
from objstore.errors import InvalidArgument

OWNER = Seeker("o", is_owner=True)
BUCKET_OWNER = Seeker("b", is_bucket_owner=True)
OTHER = Seeker("x")
ANONYMOUS = Seeker("")
P = Permission


@pytest.mark.parametrize(
    ("name", "seeker", "granted"),
    [
        ("private", OWNER, set(P)),
        ("private", BUCKET_OWNER, set()),
        ("private", OTHER, set()),
        ("public-read", ANONYMOUS, {P.READ}),
        ("public-read-write", ANONYMOUS, {P.READ, P.WRITE}),
        ("authenticated-read", ANONYMOUS, set()),
        ("authenticated-read", OTHER, {P.READ}),
        ("bucket-owner-read", BUCKET_OWNER, {P.READ}),
        ("bucket-owner-full-control", BUCKET_OWNER, set(P)),
        ("bucket-owner-full-control", OTHER, set()),
        ("log-delivery-write", OTHER, set()),
        ("log-delivery-write", Seeker("", is_log_delivery=True), {P.WRITE, P.READ_ACP}),
    ],
)
def test_canned_lists(name: str, seeker: Seeker, granted: set[Permission]) -> None:
    found = acl.canned_acl(name)
    assert {permission for permission in P if acl.grants(found, permission, seeker)} == granted


def test_an_unknown_canned_list_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        acl.canned_acl("public")


def test_public_grants_can_be_ignored() -> None:
    public = acl.canned_acl("public-read")
    assert acl.is_public(public)
    assert not acl.grants(public, P.READ, ANONYMOUS, ignore_public=True)
    assert not acl.grants(acl.canned_acl("authenticated-read"), P.READ, OTHER, ignore_public=True)
    assert acl.is_public(acl.canned_acl("authenticated-read"))
    assert not acl.is_public(acl.canned_acl("private"))


def test_users_are_granted_by_id_alone() -> None:
    found = acl.acl_of([Grant(acl.USER, "x", P.READ)])
    assert acl.grants(found, P.READ, OTHER)
    assert not acl.grants(found, P.WRITE, OTHER)
    assert not acl.grants(found, P.READ, OWNER)
    assert not acl.grants(acl.acl_of([Grant(acl.USER, "", P.READ)]), P.READ, ANONYMOUS)


def test_lists_are_kept_and_the_owners_alone_takes_no_room() -> None:
    for name in ("private", "public-read-write", "bucket-owner-read"):
        found = acl.canned_acl(name)
        assert acl.decode_acl(acl.encode_acl(found)) == found
    assert acl.encode_acl(acl.PRIVATE) == b""
    assert acl.decode_acl(acl.encode_acl(Acl(1, ()))) == Acl(1, ())
    block = PublicAccessBlock(block_acls=True, restrict=True)
    assert acl.decode_block(acl.encode_block(block)) == block


def test_a_list_has_a_hundred_grants_at_most() -> None:
    grant = Grant(acl.USER, "x", P.READ)
    assert len(acl.acl_of([grant] * 100).grants) == 100
    with pytest.raises(InvalidArgument):
        acl.acl_of([grant] * 101)


def test_grant_headers_are_read() -> None:
    assert acl.parse_grant_header('id="a", uri="http://x" ,emailAddress=b@c') == [("id", "a"), ("uri", "http://x"), ("emailaddress", "b@c")]


@pytest.mark.parametrize(
    "value", ["", "x", "id", 'id="a', 'id="a",', 'id="a";id="b"', "id=a b", ",", 'id="a",' * 200, "id=" + "a" * 5000, "=a"]
)
def test_bad_grant_headers_are_refused(value: str) -> None:
    with pytest.raises(InvalidArgument):
        acl.parse_grant_header(value)
