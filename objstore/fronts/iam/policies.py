"""Policies: inline ones of users, groups and roles, managed ones and their versions, attachments, tags."""

from collections.abc import Callable

from msgspec.structs import replace

from objstore.core.policy import Kind
from objstore.fronts.iam.call import (
    PARAMETERS,
    Call,
    Row,
    about,
    about_new,
    about_parameter,
    encoded,
    page,
    shown_tags,
    times,
)
from objstore.fronts.iam.users import boundary_of
from objstore.fronts.s3.xml import element
from objstore.identity.entities import (
    GROUP,
    ID_PREFIXES,
    MAX_ATTACHED,
    MAX_INLINE_BYTES,
    MAX_MANAGED_BYTES,
    MAX_POLICY_VERSIONS,
    RECORD_VERSION,
    ROLE,
    USER,
    Holder,
    IdentityRefused,
    ManagedPolicy,
    PolicyVersion,
    check_name,
    check_tags,
    in_use,
    new_id,
    over_limit,
)


def _no_policy(name: str, kind: str) -> IdentityRefused:
    return IdentityRefused("NoSuchEntity", f"The {kind} policy with name {name} cannot be found.", 404)


def _policy_name(call: Call) -> str:
    return check_name(call.text("PolicyName"), "policy", "policyName")


# -- inline ---------------------------------------------------------------------------------------------------


def _inline(kind: str) -> dict[str, Row]:
    title = kind.capitalize()
    limit = MAX_INLINE_BYTES[kind]

    async def put(call: Call) -> str:
        name, document = _policy_name(call), call.document("PolicyDocument", Kind.IDENTITY, limit)

        def change(holder: Holder) -> Holder:
            inline = {**holder.inline, name: document}
            if sum(len("".join(text.split())) for text in inline.values()) > limit:
                raise IdentityRefused("LimitExceeded", f"Maximum policy size of {limit} bytes exceeded for {kind} {holder.name}", 409)
            return replace(holder, inline=inline)

        await call.changes.change_holder(call.key(kind), change)
        return ""

    async def get(call: Call) -> str:
        holder, name = call.holder(kind), _policy_name(call)
        if name not in holder.inline:
            raise _no_policy(name, kind)
        return element(PARAMETERS[kind], holder.name) + element("PolicyName", name) + encoded("PolicyDocument", holder.inline[name])

    async def delete(call: Call) -> str:
        name = _policy_name(call)

        def change(holder: Holder) -> Holder:
            if name not in holder.inline:
                raise _no_policy(name, kind)
            return replace(holder, inline={found: text for found, text in holder.inline.items() if found != name})

        call.holder(kind)
        await call.changes.change_holder(call.key(kind), change)
        return ""

    async def names(call: Call) -> str:
        return page(call, "PolicyNames", [(name, name) for name in call.holder(kind).inline])

    of = about(kind)
    plural = f"List{title}Policies"
    return {f"Put{title}Policy": (of, put), f"Get{title}Policy": (of, get), f"Delete{title}Policy": (of, delete), plural: (of, names)}


# -- attached -------------------------------------------------------------------------------------------------


def _attached(kind: str) -> dict[str, Row]:
    title = kind.capitalize()

    async def attach(call: Call) -> str:
        policy = call.policy()

        def change(holder: Holder) -> Holder:
            kept = tuple(found for found in holder.attached if found != policy.id and found in call.directory.policies)
            if len(kept) >= MAX_ATTACHED:
                raise over_limit(f"PoliciesPer{title}", MAX_ATTACHED)
            return replace(holder, attached=(*kept, policy.id))

        await call.changes.change_holder(call.key(kind), change)
        return ""

    async def detach(call: Call) -> str:
        policy = call.policy()

        def change(holder: Holder) -> Holder:
            if policy.id not in holder.attached:
                raise IdentityRefused("NoSuchEntity", f"Policy {policy.arn} was not found.", 404)
            return replace(holder, attached=tuple(found for found in holder.attached if found != policy.id))

        await call.changes.change_holder(call.key(kind), change)
        return ""

    async def attached(call: Call) -> str:
        prefix = call.text("PathPrefix", "/", most=512)
        found = [call.directory.policies.get(policy) for policy in call.holder(kind).attached]
        rows = [(p.name, element("PolicyName", p.name) + element("PolicyArn", p.arn)) for p in found if p and p.path.startswith(prefix)]
        return page(call, "AttachedPolicies", rows)

    of = about(kind)
    plural = f"ListAttached{title}Policies"
    return {f"Attach{title}Policy": (of, attach), f"Detach{title}Policy": (of, detach), plural: (of, attached)}


# -- boundaries and tags --------------------------------------------------------------------------------------


def _boundary(kind: str) -> dict[str, Row]:
    title = kind.capitalize()

    async def put(call: Call) -> str:
        call.text("PermissionsBoundary")
        boundary = boundary_of(call)
        await call.changes.change_holder(call.key(kind), lambda holder: replace(holder, boundary=boundary))
        return ""

    async def delete(call: Call) -> str:
        await call.changes.change_holder(call.key(kind), lambda holder: replace(holder, boundary=""))
        return ""

    return {f"Put{title}PermissionsBoundary": (about(kind), put), f"Delete{title}PermissionsBoundary": (about(kind), delete)}


def _tags(kind: str) -> dict[str, Row]:
    title = kind.capitalize()

    async def tag(call: Call) -> str:
        added = call.tags()
        await call.changes.change_holder(call.key(kind), lambda holder: replace(holder, tags=check_tags({**holder.tags, **added})))
        return ""

    async def untag(call: Call) -> str:
        gone = call.members("TagKeys")

        def change(holder: Holder) -> Holder:
            return replace(holder, tags={name: value for name, value in holder.tags.items() if name not in gone})

        await call.changes.change_holder(call.key(kind), change)
        return ""

    async def tags(call: Call) -> str:
        rows = [(name, element("Key", name) + element("Value", value)) for name, value in call.holder(kind).tags.items()]
        return page(call, "Tags", rows)

    of = about(kind)
    return {f"Tag{title}": (of, tag), f"Untag{title}": (of, untag), f"List{title}Tags": (of, tags)}


# -- managed --------------------------------------------------------------------------------------------------


def _attachments(call: Call, policy: ManagedPolicy) -> list[Holder]:
    return [holder for holder in call.directory.holders.values() if policy.id in holder.attached and holder.account == call.account]


def _shown(call: Call, policy: ManagedPolicy, *, listed: bool = False) -> str:
    names = (
        element("PolicyName", policy.name)
        + element("PolicyId", policy.id.replace(":", "-"))
        + element("Arn", policy.arn)
        + element("Path", policy.path)
    )
    bounded = sum(holder.boundary == policy.id for holder in call.directory.holders.values() if holder.account == call.account)
    counts = element("AttachmentCount", len(_attachments(call, policy))) + element("PermissionsBoundaryUsageCount", bounded)
    dates = times("CreateDate", policy.created_us) + times("UpdateDate", policy.updated_us)
    more = "" if listed else (element("Description", policy.description) if policy.description else "") + shown_tags(policy.tags)
    return f"{names}{element('DefaultVersionId', policy.default)}{counts}<IsAttachable>true</IsAttachable>{dates}{more}"


async def create_policy(call: Call) -> str:
    """CreatePolicy."""
    document = call.document("PolicyDocument", Kind.IDENTITY, MAX_MANAGED_BYTES)
    policy = ManagedPolicy(
        RECORD_VERSION, call.account, _policy_name(call), new_id(call.directory.rng, ID_PREFIXES["policy"]), call.now_us, call.now_us,
        call.path(), (PolicyVersion("v1", document, call.now_us),), description=call.text("Description", "", most=1000),
        tags=check_tags(call.tags()),
    )  # fmt: skip
    await call.changes.create_policy(policy)
    return f"<Policy>{_shown(call, policy)}</Policy>"


async def get_policy(call: Call) -> str:
    """GetPolicy."""
    return f"<Policy>{_shown(call, call.policy())}</Policy>"


async def list_policies(call: Call) -> str:
    """ListPolicies."""
    scope, prefix = call.text("Scope", "All"), call.text("PathPrefix", "/", most=512)
    if scope not in ("All", "AWS", "Local"):
        raise IdentityRefused("ValidationError", "Scope must be All, AWS or Local.")
    wanted = {"All": ("aws", call.account), "AWS": ("aws",), "Local": (call.account,)}[scope]
    found = [policy for policy in call.directory.policies.values() if policy.account in wanted and policy.path.startswith(prefix)]
    if call.parameters.get("OnlyAttached") == "true":
        found = [policy for policy in found if _attachments(call, policy)]
    return page(call, "Policies", [(policy.name, _shown(call, policy, listed=True)) for policy in found])


async def delete_policy(call: Call) -> str:
    """DeletePolicy."""
    policy = call.own_policy()
    bounded = any(holder.boundary == policy.id for holder in call.directory.holders.values())

    def check(found: ManagedPolicy) -> None:
        if _attachments(call, found) or bounded:
            raise in_use("Cannot delete a policy attached to entities.")
        if len(found.versions) > 1:
            raise in_use("This policy has more than one version. Before you delete a policy, you must delete the policy's versions.")

    await call.changes.delete_policy(policy, check)
    return ""


async def list_entities_for_policy(call: Call) -> str:
    """ListEntitiesForPolicy."""
    found = _attachments(call, call.policy())
    wanted = call.text("EntityFilter", "")
    lists = []
    for kind, title in ((GROUP, "Group"), (USER, "User"), (ROLE, "Role")):
        rows = [element(f"{title}Name", h.name) + element(f"{title}Id", h.id) for h in found if h.kind == kind and wanted in ("", title)]
        lists.append(f"<Policy{title}s>{''.join([f'<member>{row}</member>' for row in rows])}</Policy{title}s>")
    return "".join(lists) + "<IsTruncated>false</IsTruncated>"


def _shown_version(policy: ManagedPolicy, version: PolicyVersion, *, document: bool) -> str:
    text = encoded("Document", version.document) if document else ""
    default = "true" if version.id == policy.default else "false"
    return (
        f"{text}{element('VersionId', version.id)}<IsDefaultVersion>{default}</IsDefaultVersion>{times('CreateDate', version.created_us)}"
    )


def _version(call: Call, policy: ManagedPolicy) -> PolicyVersion:
    wanted = call.text("VersionId", most=32)
    found = next((version for version in policy.versions if version.id == wanted), None)
    if found is None:
        raise IdentityRefused("NoSuchEntity", f"Policy {policy.arn} version {wanted} does not exist or is not attachable.", 404)
    return found


async def create_policy_version(call: Call) -> str:
    """CreatePolicyVersion."""
    document = call.document("PolicyDocument", Kind.IDENTITY, MAX_MANAGED_BYTES)
    default = call.text("SetAsDefault", "false") == "true"

    def add(policy: ManagedPolicy) -> ManagedPolicy:
        if len(policy.versions) >= MAX_POLICY_VERSIONS:
            raise over_limit("VersionsPerPolicy", MAX_POLICY_VERSIONS)
        made = PolicyVersion(f"v{policy.made + 1}", document, call.now_us)
        return replace(
            policy, versions=(*policy.versions, made), made=policy.made + 1, default=made.id if default else policy.default, updated_us=call.now_us
        )  # fmt: skip

    policy = await call.changes.change_policy(call.own_policy(), add)
    return f"<PolicyVersion>{_shown_version(policy, policy.versions[-1], document=False)}</PolicyVersion>"


async def get_policy_version(call: Call) -> str:
    """GetPolicyVersion."""
    policy = call.policy()
    return f"<PolicyVersion>{_shown_version(policy, _version(call, policy), document=True)}</PolicyVersion>"


async def list_policy_versions(call: Call) -> str:
    """ListPolicyVersions."""
    policy = call.policy()
    return page(call, "Versions", [(version.id, _shown_version(policy, version, document=False)) for version in policy.versions])


async def delete_policy_version(call: Call) -> str:
    """DeletePolicyVersion."""

    def drop(policy: ManagedPolicy) -> ManagedPolicy:
        gone = _version(call, policy)
        if gone.id == policy.default:
            raise in_use("Cannot delete the default version of a policy.")
        return replace(policy, versions=tuple(version for version in policy.versions if version.id != gone.id))

    await call.changes.change_policy(call.own_policy(), drop)
    return ""


async def set_default_policy_version(call: Call) -> str:
    """SetDefaultPolicyVersion."""

    def change(policy: ManagedPolicy) -> ManagedPolicy:
        return replace(policy, default=_version(call, policy).id, updated_us=call.now_us)

    await call.changes.change_policy(call.own_policy(), change)
    return ""


_BY_ARN = about_parameter("PolicyArn")
_KINDS: tuple[Callable[[str], dict[str, Row]], ...] = (_inline, _attached)
ACTIONS: dict[str, Row] = {
    **{name: row for make in _KINDS for kind in (USER, GROUP, ROLE) for name, row in make(kind).items()},
    **{name: row for make in (_boundary, _tags) for kind in (USER, ROLE) for name, row in make(kind).items()},
    "CreatePolicy": (about_new("policy"), create_policy),
    "GetPolicy": (_BY_ARN, get_policy),
    "ListPolicies": (lambda call: f"arn:aws:iam::{call.account}:policy/*", list_policies),
    "DeletePolicy": (_BY_ARN, delete_policy),
    "ListEntitiesForPolicy": (_BY_ARN, list_entities_for_policy),
    "CreatePolicyVersion": (_BY_ARN, create_policy_version),
    "GetPolicyVersion": (_BY_ARN, get_policy_version),
    "ListPolicyVersions": (_BY_ARN, list_policy_versions),
    "DeletePolicyVersion": (_BY_ARN, delete_policy_version),
    "SetDefaultPolicyVersion": (_BY_ARN, set_default_policy_version),
}
