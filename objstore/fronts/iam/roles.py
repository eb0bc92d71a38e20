"""Roles, and the providers of web identities that their trust policies may name."""

import re

from msgspec.structs import replace

from objstore.core.policy import Kind
from objstore.fronts.iam.call import (
    Call,
    Row,
    about,
    about_all,
    about_new,
    about_parameter,
    encoded,
    members,
    page,
    prefixed,
    shown_tags,
    times,
)
from objstore.fronts.iam.users import boundary_of, shown_boundary
from objstore.fronts.s3.xml import element
from objstore.identity.entities import (
    DEFAULT_SESSION_S,
    ID_PREFIXES,
    MAX_TRUST_BYTES,
    RECORD_VERSION,
    ROLE,
    Holder,
    IdentityRefused,
    WebProvider,
    check_name,
    check_tags,
    in_use,
    invalid,
    new_id,
)

MAX_SESSION_S = 43_200
MAX_CLIENTS = 100
_THUMBPRINT = re.compile(r"[0-9A-Za-z]{40}")  # as IAM: never looked at again, since keys are not fetched by it
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]{1,253}(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]{0,200})?)")


def _shown(call: Call, role: Holder, *, listed: bool = False) -> str:
    names = element("Path", role.path) + element("RoleName", role.name) + element("RoleId", role.id) + element("Arn", role.arn)
    more = "" if listed else shown_boundary(call, role) + shown_tags(role.tags)
    description = element("Description", role.description) if role.description else ""
    trust = encoded("AssumeRolePolicyDocument", role.trust)
    return f"{names}{times('CreateDate', role.created_us)}{trust}{description}{element('MaxSessionDuration', role.max_session_s)}{more}"


def _session_limit(call: Call, default: int) -> int:
    return call.number("MaxSessionDuration", default, 3600, MAX_SESSION_S)


async def create_role(call: Call) -> str:
    """CreateRole."""
    role = Holder(
        RECORD_VERSION, ROLE, call.account, check_name(call.text("RoleName"), ROLE, "roleName"), new_id(call.directory.rng, ID_PREFIXES[ROLE]),
        call.now_us, call.path(), tags=check_tags(call.tags()), boundary=boundary_of(call),
        trust=call.document("AssumeRolePolicyDocument", Kind.TRUST, MAX_TRUST_BYTES),
        description=call.text("Description", "", most=1000), max_session_s=_session_limit(call, DEFAULT_SESSION_S),
    )  # fmt: skip
    await call.changes.create_holder(role)
    return f"<Role>{_shown(call, role)}</Role>"


async def get_role(call: Call) -> str:
    """GetRole."""
    return f"<Role>{_shown(call, call.holder(ROLE))}</Role>"


async def list_roles(call: Call) -> str:
    """ListRoles."""
    roles = prefixed(call, call.directory.of_kind(ROLE, call.account))
    return page(call, "Roles", [(role.name, _shown(call, role, listed=True)) for role in roles])


async def update_role(call: Call) -> str:
    """UpdateRole and UpdateRoleDescription."""

    def change(role: Holder) -> Holder:
        description = call.text("Description", role.description, least=0, most=1000)
        return replace(role, description=description, max_session_s=_session_limit(call, role.max_session_s))

    role = await call.changes.change_holder(call.key(ROLE), change)
    return f"<Role>{_shown(call, role)}</Role>" if call.action == "UpdateRoleDescription" else ""


async def update_assume_role_policy(call: Call) -> str:
    """UpdateAssumeRolePolicy."""
    trust = call.document("PolicyDocument", Kind.TRUST, MAX_TRUST_BYTES)
    await call.changes.change_holder(call.key(ROLE), lambda role: replace(role, trust=trust))
    return ""


async def delete_role(call: Call) -> str:
    """DeleteRole."""

    def check(role: Holder) -> None:
        if role.inline:
            raise in_use("Cannot delete entity, must delete policies first.")
        if role.attached:
            raise in_use("Cannot delete entity, must detach all policies first.")

    await call.changes.delete_holder(call.key(ROLE), check)
    return ""


# -- providers of web identities ------------------------------------------------------------------------------


def _provider_url(call: Call) -> tuple[str, str]:
    """(scheme, the rest)."""
    url = call.text("Url", most=255)
    match = _URL.fullmatch(url)
    if match is None:
        raise invalid("Invalid Open ID Connect Provider URL")
    return match[1], match[2]


def _thumbprints(call: Call) -> tuple[str, ...]:
    found = tuple(call.members("ThumbprintList"))
    if len(found) > 5 or any(_THUMBPRINT.fullmatch(text) is None for text in found):
        raise IdentityRefused("InvalidInput", "At most 5 thumbprints of 40 characters.")
    return found


def _clients(found: tuple[str, ...]) -> tuple[str, ...]:
    if len(found) > MAX_CLIENTS or any(not 1 <= len(text) <= 255 for text in found):
        raise IdentityRefused("LimitExceeded", f"At most {MAX_CLIENTS} client ids of 1 to 255 characters.", 409)
    return found


async def create_provider(call: Call) -> str:
    """CreateOpenIDConnectProvider."""
    scheme, url = _provider_url(call)
    provider = WebProvider(
        RECORD_VERSION, call.account, url, call.now_us, _clients(tuple(call.members("ClientIDList"))), _thumbprints(call),
        tags=check_tags(call.tags()), insecure=scheme == "http",
    )  # fmt: skip
    if provider.arn in call.directory.fixed_providers:
        raise IdentityRefused("EntityAlreadyExists", f"Provider with url {provider.url} already exists.", 409)
    await call.changes.create_provider(provider)
    return element("OpenIDConnectProviderArn", provider.arn) + shown_tags(provider.tags)


async def get_provider(call: Call) -> str:
    """GetOpenIDConnectProvider."""
    provider = call.provider()
    lists = members("ClientIDList", map(_plain, provider.clients)) + members("ThumbprintList", map(_plain, provider.thumbprints))
    return (
        element("Url", f"http://{provider.url}" if provider.insecure else provider.url)
        + lists
        + times("CreateDate", provider.created_us)
        + shown_tags(provider.tags)
    )


def _plain(text: str) -> str:
    return element("x", text)[3:-4]


async def list_providers(call: Call) -> str:
    """ListOpenIDConnectProviders."""
    arns = sorted(provider.arn for provider in call.directory.providers.values() if provider.account == call.account)
    return members("OpenIDConnectProviderList", [element("Arn", arn) for arn in arns])


async def delete_provider(call: Call) -> str:
    """DeleteOpenIDConnectProvider."""
    await call.changes.delete_provider(call.provider())
    return ""


async def add_client(call: Call) -> str:
    """AddClientIDToOpenIDConnectProvider."""
    client = call.text("ClientID", most=255)

    def change(provider: WebProvider) -> WebProvider:
        return replace(provider, clients=_clients(tuple(dict.fromkeys((*provider.clients, client)))))

    await call.changes.change_provider(call.provider(), change)
    return ""


async def remove_client(call: Call) -> str:
    """RemoveClientIDFromOpenIDConnectProvider."""
    client = call.text("ClientID", most=255)

    def change(provider: WebProvider) -> WebProvider:
        return replace(provider, clients=tuple(found for found in provider.clients if found != client))

    await call.changes.change_provider(call.provider(), change)
    return ""


async def update_thumbprints(call: Call) -> str:
    """UpdateOpenIDConnectProviderThumbprint."""
    thumbprints = _thumbprints(call)
    await call.changes.change_provider(call.provider(), lambda provider: replace(provider, thumbprints=thumbprints))
    return ""


_BY_ARN = about_parameter("OpenIDConnectProviderArn")
_ALL_PROVIDERS = about_all("oidc-provider")
ACTIONS: dict[str, Row] = {
    "CreateRole": (about_new(ROLE), create_role),
    "GetRole": (about(ROLE), get_role),
    "ListRoles": (about_all(ROLE), list_roles),
    "UpdateRole": (about(ROLE), update_role),
    "UpdateRoleDescription": (about(ROLE), update_role),
    "UpdateAssumeRolePolicy": (about(ROLE), update_assume_role_policy),
    "DeleteRole": (about(ROLE), delete_role),
    "CreateOpenIDConnectProvider": (_ALL_PROVIDERS, create_provider),
    "GetOpenIDConnectProvider": (_BY_ARN, get_provider),
    "ListOpenIDConnectProviders": (_ALL_PROVIDERS, list_providers),
    "DeleteOpenIDConnectProvider": (_BY_ARN, delete_provider),
    "AddClientIDToOpenIDConnectProvider": (_BY_ARN, add_client),
    "RemoveClientIDFromOpenIDConnectProvider": (_BY_ARN, remove_client),
    "UpdateOpenIDConnectProviderThumbprint": (_BY_ARN, update_thumbprints),
}
