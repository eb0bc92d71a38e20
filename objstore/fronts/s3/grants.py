"""Access control lists as S3 writes them: in headers, and as documents."""

from collections.abc import Iterator, Mapping, Sequence

from objstore.core import acl as lists
from objstore.core.acl import Acl, Grant, Permission
from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.xml import Element, element, parse
from objstore.identity.logic import Credentials

_GRANT_HEADERS = {
    "x-amz-grant-full-control": Permission.FULL_CONTROL,
    "x-amz-grant-read": Permission.READ,
    "x-amz-grant-write": Permission.WRITE,
    "x-amz-grant-read-acp": Permission.READ_ACP,
    "x-amz-grant-write-acp": Permission.WRITE_ACP,
}
_GRANT_NAMES = frozenset(_GRANT_HEADERS)
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


# -- headers --------------------------------------------------------------------------------------------------


def acl_of_headers(credentials: Credentials, amz: Mapping[str, str]) -> Acl | None:
    """The list that x-amz-acl or x-amz-grant-* ask for; None when there is neither.  Raises InvalidArgument, InvalidRequest, S3Refused."""
    canned = amz.get("x-amz-acl")
    if canned is None and _GRANT_NAMES.isdisjoint(amz):
        return None
    granting = [name for name in _GRANT_HEADERS if name in amz]
    if canned is not None and granting:
        raise InvalidRequest("Specifying both Canned ACLs and Header Grants is not allowed")
    if canned is not None:
        return lists.canned_acl(canned)
    return lists.acl_of(grant for name in granting for grant in _header_grants(credentials, amz[name], _GRANT_HEADERS[name]))


def _header_grants(credentials: Credentials, value: str, permission: Permission) -> Iterator[Grant]:
    for kind, text in lists.parse_grant_header(value):
        if kind == "id":
            yield Grant(lists.USER, _known_id(credentials, text), permission)
        elif kind == "uri":
            yield Grant(_group(text), "", permission)
        else:
            yield Grant(lists.USER, _id_of_email(credentials, text), permission)


def _known_id(credentials: Credentials, canonical_id: str) -> str:
    if credentials.display_name_of(canonical_id) is None:
        raise InvalidArgument("Invalid id", argument="CanonicalUser/ID", value=canonical_id)
    return canonical_id


def _id_of_email(credentials: Credentials, email: str) -> str:
    found = credentials.id_of_email(email)
    if found is None:
        raise S3Refused(
            400, "UnresolvableGrantByEmailAddress", "The e-mail address you provided does not match any account on record.",
            hint="Grant by canonical id, or check the address.",
        )  # fmt: skip
    return found


def _group(uri: str) -> str:
    kind = lists.GROUPS.get(uri)
    if kind is None:
        raise InvalidArgument("Invalid group uri", argument="Group/URI", value=uri)
    return kind


# -- documents ------------------------------------------------------------------------------------------------


def read_acl(credentials: Credentials, data: bytes, owner: str, bucket_owner: str = "") -> Acl:
    """The list in a document; `owner` and `bucket_owner` are canonical ids.

    Raises MalformedXml for what is no XML, S3Refused MalformedACLError for another document, AccessDenied when it names
    another owner.
    """
    root = parse(data, "AccessControlPolicy")
    named, grants = root.find("Owner"), root.find("AccessControlList")
    if grants is None:
        raise _malformed()
    if named is not None and named.value("ID") not in ("", owner):
        raise AccessDenied("the owner of a bucket or object cannot be changed", hint="Name the present owner in <Owner>, or leave it out.")
    return lists.acl_of(_grant(credentials, item, owner, bucket_owner) for item in grants.all("Grant"))


def read_grants(credentials: Credentials, items: Element, owner: str) -> tuple[Grant, ...]:
    """The grants in an element; `owner` is a canonical id.  Raises S3Refused, InvalidArgument for more than 100."""
    return lists.acl_of(_grant(credentials, item, owner, "") for item in items.all("Grant")).grants


def grants_shown(credentials: Credentials, grants: Sequence[Grant], owner: str, bucket_owner: str) -> str:
    """Grants as elements; `owner` and `bucket_owner` are accounts."""
    return "".join([_grant_element(credentials, grant, owner, bucket_owner) for grant in grants])


def _grant(credentials: Credentials, item: Element, owner: str, bucket_owner: str) -> Grant:
    grantee = item.find("Grantee")
    try:
        permission = Permission(item.value("Permission"))
    except ValueError:
        raise _malformed() from None
    if grantee is None:
        raise _malformed()
    canonical_id, uri, email = grantee.value("ID"), grantee.value("URI"), grantee.value("EmailAddress")
    if bool(canonical_id) + bool(uri) + bool(email) != 1:
        raise _malformed()
    if uri:
        return Grant(_group(uri), "", permission)
    if email:
        canonical_id = _id_of_email(credentials, email)
    if canonical_id == owner:
        return Grant(lists.OWNER, "", permission)
    if canonical_id == bucket_owner:
        return Grant(lists.BUCKET_OWNER, "", permission)
    return Grant(lists.USER, _known_id(credentials, canonical_id), permission)


def _malformed() -> S3Refused:
    return S3Refused(400, "MalformedACLError", "The XML you provided was not well-formed or did not validate against our published schema")


def acl_answer(credentials: Credentials, acl: Acl, owner: str, bucket_owner: str) -> str:
    """The content of an AccessControlPolicy; `owner` and `bucket_owner` are accounts."""
    who = credentials.owner_of(owner)
    shown = f"{element('ID', who.canonical_id)}{element('DisplayName', who.display_name)}"
    grants = grants_shown(credentials, acl.grants, owner, bucket_owner)
    return f"<Owner>{shown}</Owner><AccessControlList>{grants}</AccessControlList>"


def _grant_element(credentials: Credentials, grant: Grant, owner: str, bucket_owner: str) -> str:
    uri = lists.GROUP_URIS.get(grant.kind)
    if uri is not None:
        kind, content = "Group", element("URI", uri)
    else:
        kind = "CanonicalUser"
        if grant.kind == lists.USER:
            canonical_id, name = grant.id, credentials.display_name_of(grant.id) or ""
        else:
            holder = credentials.owner_of(owner if grant.kind == lists.OWNER else bucket_owner)
            canonical_id, name = holder.canonical_id, holder.display_name
        content = element("ID", canonical_id) + (element("DisplayName", name) if name else "")
    permission = element("Permission", grant.permission.value)
    return f'<Grant><Grantee {_XSI} xsi:type="{kind}">{content}</Grantee>{permission}</Grant>'
