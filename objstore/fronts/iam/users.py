"""Users, their access keys, groups and who is in them."""

from msgspec.structs import replace

from objstore.fronts.iam.call import (
    Call,
    Row,
    about,
    about_all,
    about_new,
    members,
    page,
    prefixed,
    shown_tags,
    times,
)
from objstore.fronts.s3.xml import element
from objstore.identity.entities import (
    GROUP,
    ID_PREFIXES,
    KEY_PREFIX,
    MAX_GROUPS_OF_USER,
    MAX_KEYS,
    RECORD_VERSION,
    USER,
    AccessKey,
    Holder,
    IdentityRefused,
    check_name,
    check_path,
    check_tags,
    in_use,
    key_of,
    new_id,
    new_secret,
    no_such,
    over_limit,
)


def _facts(call: Call, holder: Holder, kind: str) -> str:
    path_name = element("Path", holder.path) + element(f"{kind}Name", holder.name)
    return (
        path_name + element(f"{kind}Id", holder.id) + element("Arn", call.directory.arn_of(holder)) + times("CreateDate", holder.created_us)
    )


def shown_user(call: Call, user: Holder, *, listed: bool = False) -> str:
    """A user."""
    return _facts(call, user, "User") + ("" if listed else shown_boundary(call, user) + shown_tags(user.tags))


def shown_boundary(call: Call, holder: Holder) -> str:
    """The permissions boundary, where there is one."""
    policy = call.directory.policies.get(holder.boundary)
    if policy is None:
        return ""
    kind = element("PermissionsBoundaryType", "Policy")
    return f"<PermissionsBoundary>{kind}{element('PermissionsBoundaryArn', policy.arn)}</PermissionsBoundary>"


def boundary_of(call: Call) -> str:
    """The id of the policy that PermissionsBoundary names; empty when none is named.  Raises IdentityRefused."""
    arn = call.text("PermissionsBoundary", "", most=2048)
    if not arn:
        return ""
    policy = call.directory.policy_by_arn(arn, call.account)
    if policy is None:
        raise IdentityRefused("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)
    return policy.id


async def create_user(call: Call) -> str:
    """CreateUser."""
    user = Holder(
        RECORD_VERSION, USER, call.account, check_name(call.text("UserName"), USER, "userName"), new_id(call.directory.rng, ID_PREFIXES[USER]),
        call.now_us, call.path(), tags=check_tags(call.tags()), boundary=boundary_of(call),
    )  # fmt: skip
    await call.changes.create_holder(user)
    return f"<User>{shown_user(call, user)}</User>"


async def get_user(call: Call) -> str:
    """GetUser."""
    return f"<User>{shown_user(call, call.holder(USER))}</User>"


async def list_users(call: Call) -> str:
    """ListUsers."""
    users = prefixed(call, call.directory.users(call.account))
    return page(call, "Users", [(user.name, shown_user(call, user, listed=True)) for user in users])


async def update_user(call: Call) -> str:
    """UpdateUser."""
    await _rename(call, USER, "NewUserName")
    return ""


async def _rename(call: Call, kind: str, parameter: str) -> None:
    name = call.text(parameter, "")
    if name:
        check_name(name, kind, parameter)
    path = call.text("NewPath", "", most=512)
    if path:
        check_path(path)
    holder = call.holder(kind)
    if holder.fixed:
        raise IdentityRefused("UnmodifiableEntity", f"The user {holder.name} belongs to the identities file; change it there.")
    await call.changes.rename_holder(key_of(holder), lambda found: replace(found, name=name or found.name, path=path or found.path))


async def delete_user(call: Call) -> str:
    """DeleteUser."""

    def check(user: Holder) -> None:
        _check_bare(user)
        if user.keys:
            raise in_use("Cannot delete entity, must delete access keys first.")
        if any(call.directory.group_by_id(group) is not None for group in user.groups):
            raise in_use("Cannot delete entity, must remove users from group first.")

    await call.changes.delete_holder(call.key(USER), check)
    return ""


def _check_bare(holder: Holder) -> None:
    if holder.inline:
        raise in_use("Cannot delete entity, must delete policies first.")
    if holder.attached:
        raise in_use("Cannot delete entity, must detach all policies first.")


# -- access keys ----------------------------------------------------------------------------------------------


def _shown_key(user: Holder, key: AccessKey) -> str:
    status = element("Status", "Active" if key.active else "Inactive")
    return element("UserName", user.name) + element("AccessKeyId", key.id) + status + times("CreateDate", key.created_us)


async def create_access_key(call: Call) -> str:
    """CreateAccessKey."""
    rng = call.directory.rng
    made = AccessKey(new_id(rng, KEY_PREFIX, 20), new_secret(rng), call.now_us)

    def add(user: Holder) -> Holder:
        if len(user.keys) >= MAX_KEYS:
            raise over_limit("AccessKeysPerUser", MAX_KEYS)
        return replace(user, keys=(*user.keys, made))

    user = await call.changes.change_holder(call.key(USER), add)
    return f"<AccessKey>{_shown_key(user, made)}{element('SecretAccessKey', made.secret)}</AccessKey>"


async def list_access_keys(call: Call) -> str:
    """ListAccessKeys."""
    user = call.holder(USER)
    keys = [*user.keys, *(AccessKey(key, "", 0) for key in call.directory.fixed_keys(key_of(user).record))]
    return page(call, "AccessKeyMetadata", [(key.id, _shown_key(user, key)) for key in keys]) + element("UserName", user.name)


def _no_key(key_id: str) -> IdentityRefused:
    return IdentityRefused("NoSuchEntity", f"The Access Key with id {key_id} cannot be found", 404)


async def update_access_key(call: Call) -> str:
    """UpdateAccessKey."""
    key_id, status = call.text("AccessKeyId", most=128), call.text("Status")
    if status not in ("Active", "Inactive"):
        raise IdentityRefused("ValidationError", "Status must be Active or Inactive.")

    def change(user: Holder) -> Holder:
        if all(key.id != key_id for key in user.keys):
            raise _no_key(key_id)
        keys = tuple(replace(key, active=status == "Active") if key.id == key_id else key for key in user.keys)
        return replace(user, keys=keys)

    await call.changes.change_holder(call.key(USER), change)
    return ""


async def delete_access_key(call: Call) -> str:
    """DeleteAccessKey."""
    key_id = call.text("AccessKeyId", most=128)

    def change(user: Holder) -> Holder:
        if all(key.id != key_id for key in user.keys):
            raise _no_key(key_id)
        return replace(user, keys=tuple(key for key in user.keys if key.id != key_id))

    await call.changes.change_holder(call.key(USER), change)
    return ""


# -- groups ---------------------------------------------------------------------------------------------------


async def create_group(call: Call) -> str:
    """CreateGroup."""
    name = check_name(call.text("GroupName"), GROUP, "groupName")
    group = Holder(RECORD_VERSION, GROUP, call.account, name, new_id(call.directory.rng, ID_PREFIXES[GROUP]), call.now_us, call.path())
    await call.changes.create_holder(group)
    return f"<Group>{_facts(call, group, 'Group')}</Group>"


async def get_group(call: Call) -> str:
    """GetGroup."""
    group = call.holder(GROUP)
    users = [(user.name, shown_user(call, user, listed=True)) for user in call.directory.users(call.account) if group.id in user.groups]
    return f"<Group>{_facts(call, group, 'Group')}</Group>{page(call, 'Users', users)}"


async def list_groups(call: Call) -> str:
    """ListGroups."""
    groups = prefixed(call, call.directory.of_kind(GROUP, call.account))
    return page(call, "Groups", [(group.name, _facts(call, group, "Group")) for group in groups])


async def update_group(call: Call) -> str:
    """UpdateGroup."""
    await _rename(call, GROUP, "NewGroupName")
    return ""


async def delete_group(call: Call) -> str:
    """DeleteGroup."""

    def check(group: Holder) -> None:
        _check_bare(group)
        if any(group.id in user.groups for user in call.directory.users(call.account)):
            raise in_use("Cannot delete entity, must remove users from group first.")

    await call.changes.delete_holder(call.key(GROUP), check)
    return ""


async def add_user_to_group(call: Call) -> str:
    """AddUserToGroup."""
    group = call.holder(GROUP)

    def add(user: Holder) -> Holder:
        kept = tuple(found for found in user.groups if call.directory.group_by_id(found) is not None and found != group.id)
        if len(kept) >= MAX_GROUPS_OF_USER:
            raise over_limit("GroupsPerUser", MAX_GROUPS_OF_USER)
        return replace(user, groups=(*kept, group.id))

    await call.changes.change_holder(call.key(USER), add)
    return ""


async def remove_user_from_group(call: Call) -> str:
    """RemoveUserFromGroup."""
    group = call.holder(GROUP)

    def remove(user: Holder) -> Holder:
        if group.id not in user.groups:
            raise no_such("user", user.name)
        return replace(user, groups=tuple(found for found in user.groups if found != group.id))

    await call.changes.change_holder(call.key(USER), remove)
    return ""


async def list_groups_for_user(call: Call) -> str:
    """ListGroupsForUser."""
    found = map(call.directory.group_by_id, call.holder(USER).groups)
    return page(call, "Groups", [(group.name, _facts(call, group, "Group")) for group in found if group is not None])


# -- the account ----------------------------------------------------------------------------------------------


async def get_account_summary(call: Call) -> str:
    """GetAccountSummary."""
    directory = call.directory
    facts = {
        "Users": len(directory.users(call.account)),
        "Groups": len(directory.of_kind(GROUP, call.account)),
        "Roles": len(directory.of_kind("role", call.account)),
        "Policies": sum(policy.account == call.account for policy in directory.policies.values()),
        "Providers": sum(provider.account == call.account for provider in directory.providers.values()),
        "AccessKeysPerUserQuota": MAX_KEYS,
        "GroupsPerUserQuota": MAX_GROUPS_OF_USER,
    }
    entries = "".join([f"<entry>{element('key', name)}{element('value', value)}</entry>" for name, value in facts.items()])
    return f"<SummaryMap>{entries}</SummaryMap>"


async def list_account_aliases(_: Call) -> str:
    """ListAccountAliases: there are none."""
    return members("AccountAliases", ()) + "<IsTruncated>false</IsTruncated>"


def _account(call: Call) -> str:
    return f"arn:aws:iam::{call.account}:*"


ACTIONS: dict[str, Row] = {
    "CreateUser": (about_new(USER), create_user),
    "GetUser": (about(USER), get_user),
    "ListUsers": (about_all(USER), list_users),
    "UpdateUser": (about(USER), update_user),
    "DeleteUser": (about(USER), delete_user),
    "CreateAccessKey": (about(USER), create_access_key),
    "ListAccessKeys": (about(USER), list_access_keys),
    "UpdateAccessKey": (about(USER), update_access_key),
    "DeleteAccessKey": (about(USER), delete_access_key),
    "CreateGroup": (about_new(GROUP), create_group),
    "GetGroup": (about(GROUP), get_group),
    "ListGroups": (about_all(GROUP), list_groups),
    "UpdateGroup": (about(GROUP), update_group),
    "DeleteGroup": (about(GROUP), delete_group),
    "AddUserToGroup": (about(GROUP), add_user_to_group),
    "RemoveUserFromGroup": (about(GROUP), remove_user_from_group),
    "ListGroupsForUser": (about(USER), list_groups_for_user),
    "GetAccountSummary": (_account, get_account_summary),
    "ListAccountAliases": (_account, list_account_aliases),
}
