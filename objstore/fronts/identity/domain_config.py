"""Options of domains: kept and shown, group by group, as Keystone's clients administer them.

Users of every domain are in the store: no option here makes another directory of them.  What may be set is Keystone's list; the
password of a directory is kept sealed and never shown.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from objstore.fronts.identity.call import Answer, Call, Handler
from objstore.fronts.identity.errors import IdentityProblem, not_found
from objstore.fronts.identity.keeping import alter, store
from objstore.identity.tenancy import DEFAULT_DOMAIN, RECORD_VERSION, Domain, DomainConfig

Options = dict[str, dict[str, Any]]
MAX_VALUE_CHARS = 4096
_LDAP = [
    "url",
    "user",
    "suffix",
    "query_scope",
    "page_size",
    "alias_dereferencing",
    "debug_level",
    "chase_referrals",
    "user_tree_dn",
    "user_filter",
    "user_objectclass",
    "user_id_attribute",
    "user_name_attribute",
    "user_mail_attribute",
    "user_description_attribute",
    "user_pass_attribute",
    "user_enabled_attribute",
    "user_enabled_invert",
    "user_enabled_mask",
    "user_enabled_default",
    "user_attribute_ignore",
    "user_default_project_id_attribute",
    "user_enabled_emulation",
    "user_enabled_emulation_dn",
    "user_enabled_emulation_use_group_config",
    "user_additional_attribute_mapping",
    "group_tree_dn",
    "group_filter",
    "group_objectclass",
    "group_id_attribute",
    "group_name_attribute",
    "group_member_attribute",
    "group_members_are_ids",
    "group_desc_attribute",
    "group_attribute_ignore",
    "group_additional_attribute_mapping",
    "tls_cacertfile",
    "tls_cacertdir",
    "use_tls",
    "tls_req_cert",
    "use_pool",
    "pool_size",
    "pool_retry_max",
    "pool_retry_delay",
    "pool_connection_timeout",
    "pool_connection_lifetime",
    "use_auth_pool",
    "auth_pool_size",
    "auth_pool_connection_lifetime",
]
ALLOWED: dict[str, tuple[str, ...]] = {"identity": ("driver", "list_limit"), "ldap": tuple(_LDAP)}
SENSITIVE: dict[str, tuple[str, ...]] = {"identity": (), "ldap": ("password",)}
_DEFAULTS: Options = {"identity": {"driver": "sql", "list_limit": None}, "ldap": dict.fromkeys(_LDAP)}
_SECURITY = "security_compliance"
_SHOWN = ("password_regex", "password_regex_description")


def _refused(what: str) -> IdentityProblem:
    return IdentityProblem(403, f"Invalid domain specific configuration: {what} is not supported for domain specific configurations.")


def _check_place(group: str, option: str = "") -> None:
    if group not in ALLOWED:
        raise _refused(f"group {group[:64]}")
    if option and option not in ALLOWED[group] and option not in SENSITIVE[group]:
        raise _refused(f"option {option[:64]} in group {group}")


def _checked(found: Any) -> Options:
    """Options by group, as a body has them.  Raises 400, 403."""
    if not isinstance(found, dict) or not found:
        raise IdentityProblem(400, "config must be an object of groups with options")
    for group, options in found.items():
        _check_place(group)
        if not isinstance(options, dict) or not options:
            raise IdentityProblem(400, f"the group {group} must be an object of options")
        for option, value in options.items():
            _check_place(group, option)
            if not isinstance(value, str | int | float | bool | list | None) or len(str(value)) > MAX_VALUE_CHARS:
                raise IdentityProblem(400, f"the option {option} must be text, a number, a flag or a list of {MAX_VALUE_CHARS} characters")
    return found


def _all(call: Call, config: DomainConfig | None) -> Options:
    """Everything that is kept, the sensitive too."""
    if config is None:
        return {}
    opened = call.registry.secrets.open(config.sealed, config.id) if config.sealed else None
    secret: Options = msgspec.msgpack.decode(opened) if opened else {}
    groups = dict.fromkeys((*config.options, *secret))
    return {group: {**config.options.get(group, {}), **secret.get(group, {})} for group in groups}


def _split(call: Call, config: DomainConfig, options: Options) -> DomainConfig:
    shown = {group: {name: value for name, value in found.items() if name not in SENSITIVE[group]} for group, found in options.items()}
    secret = {group: {name: found[name] for name in SENSITIVE[group] if name in found} for group, found in options.items()}
    kept = {group: found for group, found in secret.items() if found}
    sealed = call.registry.secrets.seal(msgspec.msgpack.encode(kept), config.id) if kept else b""
    return msgspec.structs.replace(config, options={group: found for group, found in shown.items() if found}, sealed=sealed)


def _domain(call: Call) -> Domain:
    return call.find(Domain, call.parameters["domain_id"], "domain")


def _config(call: Call) -> tuple[Domain, Options]:
    """What is shown of a domain's options.  Raises 403, 404."""
    call.check_read()
    domain = _domain(call)
    found = call.registry.get(DomainConfig, domain.id)
    options = found.options if found is not None else {}
    if not options:
        raise not_found("domain specific configuration for", domain.id)
    return domain, options


def _held(options: Options, group: str, option: str = "") -> None:
    """That they are there.  Raises 403, 404."""
    _check_place(group, option)
    if group not in options:
        raise not_found("group in the domain specific configuration", group)
    if option and option not in options[group]:
        raise not_found("option in the domain specific configuration", option)


def _one(options: Options, group: str, option: str = "") -> Options | dict[str, Any]:
    """One group or option of what is shown.  Raises 403, 404."""
    _held(options, group, option)
    return {option: options[group][option]} if option else {group: options[group]}


async def _write(call: Call, domain: Domain, edit: Callable[[Options], Options]) -> DomainConfig:
    """Change what is kept; `edit` may be called more than once."""
    known = call.registry.get(DomainConfig, domain.id)
    if known is None:
        made = _split(call, DomainConfig(RECORD_VERSION, domain.id), edit({}))
        await store(call, "domain configuration", made)
        return made
    changed = await alter(call, "domain configuration", known, lambda found: _split(call, found, edit(_all(call, found))))
    if not changed.options and not changed.sealed:
        await call.registry.delete(changed)
    return changed


async def put(call: Call) -> Answer:
    """PUT /domains/{domain_id}/config: in place of all that was there."""
    call.check_change()
    domain = _domain(call)
    options = _checked(call.body.get("config"))
    known = call.registry.get(DomainConfig, domain.id)
    made = await _write(call, domain, lambda _: options)
    return Answer(201 if known is None else 200, {"config": made.options})


async def show(call: Call) -> Answer:
    """GET /domains/{domain_id}/config."""
    return Answer(body={"config": _config(call)[1]})


async def show_group(call: Call) -> Answer:
    """GET /domains/{domain_id}/config/{group}; `security_compliance` tells everybody what passwords must look like."""
    if call.parameters["group"] == _SECURITY:
        return Answer(body={"config": {_SECURITY: _security(call)}})
    return Answer(body={"config": _one(_config(call)[1], call.parameters["group"])})


async def show_option(call: Call) -> Answer:
    """GET /domains/{domain_id}/config/{group}/{option}."""
    group, option = call.parameters["group"], call.parameters["option"]
    if group == _SECURITY:
        found = _security(call)
        if option not in found:
            raise _refused(f"option {option[:64]} in group {group}")
        return Answer(body={"config": {option: found[option]}})
    return Answer(body={"config": _one(_config(call)[1], group, option)})


def _security(call: Call) -> Mapping[str, Any]:
    if call.parameters["domain_id"] != DEFAULT_DOMAIN:
        raise _refused(f"group {_SECURITY} of other domains than {DEFAULT_DOMAIN}")
    return {name: getattr(call.identity.settings, name) or None for name in _SHOWN}


async def _merge(call: Call, given: Options, check: Callable[[Options], None] = lambda _: None) -> Answer:
    def edit(kept: Options) -> Options:
        check(kept)
        return {**kept, **{group: {**kept.get(group, {}), **options} for group, options in given.items()}}

    return Answer(body={"config": (await _write(call, _domain(call), edit)).options})


async def update(call: Call) -> Answer:
    """PATCH /domains/{domain_id}/config: what is named changes, the rest stays."""
    call.check_change()
    return await _merge(call, _checked(call.body.get("config")))


async def update_group(call: Call) -> Answer:
    """PATCH /domains/{domain_id}/config/{group}."""
    call.check_change()
    group = call.parameters["group"]
    given = _checked(call.body.get("config"))
    if list(given) != [group]:
        raise _refused("another group than that of the path")
    return await _merge(call, given, lambda kept: _held(kept, group))


async def update_option(call: Call) -> Answer:
    """PATCH /domains/{domain_id}/config/{group}/{option}."""
    call.check_change()
    group, option = call.parameters["group"], call.parameters["option"]
    given = call.body.get("config")
    if not isinstance(given, dict) or list(given) != [option]:
        raise _refused("another option than that of the path")
    return await _merge(call, _checked({group: given}), lambda kept: _held(kept, group, option))


async def delete(call: Call) -> Answer:
    """DELETE /domains/{domain_id}/config, .../{group}, .../{group}/{option}."""
    call.check_change()
    domain = _domain(call)
    group, option = call.parameters.get("group", ""), call.parameters.get("option", "")
    if call.registry.get(DomainConfig, domain.id) is None:
        raise not_found("domain specific configuration for", domain.id)

    def edit(kept: Options) -> Options:
        if not group:
            return {}
        _held(kept, group, option)
        left = {name: dict(options) for name, options in kept.items() if name != group or option}
        if option:
            del left[group][option]
        return {name: options for name, options in left.items() if options}

    await _write(call, domain, edit)
    return Answer(204)


# -- defaults -----------------------------------------------------------------------------------------------------


async def defaults(call: Call) -> Answer:
    """GET /domains/config/default, .../{group}/default, .../{group}/{option}/default."""
    call.check_read()
    group, option = call.parameters.get("group", ""), call.parameters.get("option", "")
    return Answer(body={"config": _one(_DEFAULTS, group, option) if group else _DEFAULTS})


_BASE = "/domains/{domain_id}/config"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("PUT", _BASE): ("create_domain_config", put),
    ("GET", _BASE): ("get_domain_config", show),
    ("PATCH", _BASE): ("update_domain_config", update),
    ("DELETE", _BASE): ("delete_domain_config", delete),
    ("GET", f"{_BASE}/{{group}}"): ("get_domain_config", show_group),
    ("PATCH", f"{_BASE}/{{group}}"): ("update_domain_config", update_group),
    ("DELETE", f"{_BASE}/{{group}}"): ("delete_domain_config", delete),
    ("GET", f"{_BASE}/{{group}}/{{option}}"): ("get_domain_config", show_option),
    ("PATCH", f"{_BASE}/{{group}}/{{option}}"): ("update_domain_config", update_option),
    ("DELETE", f"{_BASE}/{{group}}/{{option}}"): ("delete_domain_config", delete),
    ("GET", "/domains/config/default"): ("get_domain_config_default", defaults),
    ("GET", "/domains/config/{group}/default"): ("get_domain_config_default", defaults),
    ("GET", "/domains/config/{group}/{option}/default"): ("get_domain_config_default", defaults),
}
