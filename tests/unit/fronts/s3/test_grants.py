import pytest

from objstore.core import acl as lists
from objstore.core.acl import Grant, Permission
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest, MalformedXml, Refused
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.grants import acl_answer, acl_of_headers, read_acl
from objstore.identity.logic import Credentials, canonical_id_of
from tests.support.s3_server import ALICE, BOB

CREDENTIALS = Credentials([ALICE, BOB])
A, B = canonical_id_of("alice"), canonical_id_of("bob")


def test_headers_make_lists() -> None:
    assert acl_of_headers(CREDENTIALS, {"x-amz-date": "x"}) is None
    assert acl_of_headers(CREDENTIALS, {"x-amz-acl": "public-read"}) == lists.canned_acl("public-read")
    found = acl_of_headers(
        CREDENTIALS, {"x-amz-grant-read": f'id="{B}", emailAddress="BOB@localhost"', "x-amz-grant-write-acp": f'id="{A}"'}
    )
    assert found is not None
    assert found.grants == (
        Grant(lists.USER, B, Permission.READ),
        Grant(lists.USER, B, Permission.READ),
        Grant(lists.USER, A, Permission.WRITE_ACP),
    )


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"x-amz-acl": "open"}, InvalidArgument),
        ({"x-amz-acl": "private", "x-amz-grant-read": f'id="{B}"'}, InvalidRequest),
        ({"x-amz-grant-read": "id=unknown"}, InvalidArgument),
        ({"x-amz-grant-read": 'uri="http://else"'}, InvalidArgument),
        ({"x-amz-grant-read": "garbage"}, InvalidArgument),
    ],
)
def test_bad_headers_are_refused(headers: dict[str, str], error: type[Refused]) -> None:
    with pytest.raises(error):
        acl_of_headers(CREDENTIALS, headers)


def test_an_unknown_address_has_its_own_code() -> None:
    with pytest.raises(S3Refused) as caught:
        acl_of_headers(CREDENTIALS, {"x-amz-grant-read": "emailAddress=no@where"})
    assert caught.value.code == "UnresolvableGrantByEmailAddress"


def document(*grants: str, owner: str = A) -> bytes:
    inner = "".join(
        f"<Grant><Grantee>{grantee}</Grantee><Permission>{permission}</Permission></Grant>"
        for grantee, _, permission in (g.partition("|") for g in grants)
    )
    return (
        f"<AccessControlPolicy><Owner><ID>{owner}</ID></Owner><AccessControlList>{inner}</AccessControlList></AccessControlPolicy>".encode()
    )


def test_documents_are_read_and_written_back_alike() -> None:
    grants = (f"<ID>{A}</ID>|FULL_CONTROL", f"<ID>{B}</ID>|READ", "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI>|READ_ACP")
    acl = read_acl(CREDENTIALS, document(*grants), A)
    assert [grant.kind for grant in acl.grants] == [lists.OWNER, lists.USER, lists.ALL_USERS]
    shown = acl_answer(CREDENTIALS, acl, "alice", "alice")
    assert read_acl(CREDENTIALS, f"<AccessControlPolicy>{shown}</AccessControlPolicy>".encode(), A) == acl
    assert "<DisplayName>bob</DisplayName>" in shown
    assert 'xsi:type="Group"' in shown
    assert read_acl(CREDENTIALS, document(f"<ID>{B}</ID>|READ"), A, B).grants[0].kind == lists.BUCKET_OWNER
    assert read_acl(CREDENTIALS, document("<EmailAddress>alice@localhost</EmailAddress>|READ"), A).grants[0].kind == lists.OWNER
    assert read_acl(CREDENTIALS, document(owner=""), A).grants == ()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"<x>", MalformedXml),
        (b"<AccessControlPolicy/>", S3Refused),
        (document("<ID>x</ID>|READ"), InvalidArgument),
        (document(f"<ID>{A}</ID>|OWN"), S3Refused),
        (document("|READ"), S3Refused),
        (document(f"<ID>{A}</ID><URI>x</URI>|READ"), S3Refused),
        (document("<URI>http://else</URI>|READ"), InvalidArgument),
        (document(*[f"<ID>{A}</ID>|READ"] * 101), InvalidArgument),
        (document(owner=B), AccessDenied),
        (
            b"<AccessControlPolicy><AccessControlList><Grant><Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>",
            S3Refused,
        ),
    ],
)
def test_bad_documents_are_refused(data: bytes, error: type[Refused]) -> None:
    with pytest.raises(error):
        read_acl(CREDENTIALS, data, A)
