"""Tokens: how they are asked for, shown, and made void."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from objstore.fronts.identity.call import Answer, Call, Handler, View, time_text, truth
from objstore.fronts.identity.endpoint_groups import endpoints_for
from objstore.fronts.identity.errors import IdentityProblem, forbidden, unauthorized
from objstore.fronts.identity.password_rules import NO_LOCKOUT, is_expired
from objstore.fronts.identity.second_factor import METHODS, receipt_answer, receipt_of, suffices
from objstore.fronts.identity.trusts import use
from objstore.fronts.identity.views import brief, domain_view, named, password_expiry, project_view, rule_view
from objstore.identity.bearer import Bearer
from objstore.identity.passcodes import secret_of
from objstore.identity.rules import Access, may_read
from objstore.identity.tenancy import RECORD_VERSION, SYSTEM, AccessRule, AppCredential, Domain, Endpoint, Person, Project, Service
from objstore.identity.trusts import trust_line

MAX_TOKEN_S = 30 * 86_400.0
NO_TOKEN = "Could not find token."
NO_SCOPE = "Application credentials cannot request a scope."
_MALFORMED = "Expecting to find {} in the request body. The server could not comply with the request since it is either malformed or otherwise incorrect."


@dataclass
class Proof:
    """What the methods of a request have shown."""

    user: Person
    methods: tuple[str, ...] = ()
    expires_us: int = 0  # no later than this; 0: as long as tokens live
    line: str = ""  # audit id of the first token of the line
    credential: AppCredential | None = None
    names: list[str] = field(default_factory=list)


def _object(found: Any, name: str) -> Mapping[str, Any]:
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value, dict):
        raise IdentityProblem(400, _MALFORMED.format(name))
    return value


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name, "")
    if not isinstance(value, str):
        raise IdentityProblem(400, f"Invalid input for field '{name}': it must be text")
    return value


# -- who it is ------------------------------------------------------------------------------------------------------


def _domain(call: Call, found: Any) -> Domain | None:
    if not isinstance(found, dict):
        raise IdentityProblem(400, _MALFORMED.format("domain"))
    id_, name = _text(found, "id"), _text(found, "name")
    if not id_ and not name:
        raise IdentityProblem(400, _MALFORMED.format("id or name of the domain"))
    return call.registry.get(Domain, id_) if id_ else call.registry.domain_named(name)


def _user(call: Call, found: Mapping[str, Any]) -> Person | None:
    id_, name = _text(found, "id"), _text(found, "name")
    if id_:
        return call.registry.get(Person, id_)
    if not name:
        raise IdentityProblem(400, _MALFORMED.format("id or name of the user"))
    domain = _domain(call, found.get("domain"))
    return None if domain is None else call.registry.user_named(name, domain.id)


async def _by_password(call: Call, given: Mapping[str, Any]) -> Proof:
    asked = _object(given, "user")
    password = _text(asked, "password")
    user = _user(call, asked)
    # Whoever is not there is asked for a password all the same, and locked out alike.
    who = user.id if user is not None else f"{asked.get('id')}/{asked.get('name')}/{asked.get('domain')}"
    locks = user is None or not user.options.get(NO_LOCKOUT)
    right = await call.identity.passwords.check(who, password, user.password if user is not None else "", locks=locks)
    if user is None or not right or not call.registry.is_usable(user):
        raise unauthorized()
    if is_expired(user, call.identity.now_us()):
        raise unauthorized(f"The password is expired and needs to be changed for user: {user.id}.")
    return Proof(user)


async def _by_token(call: Call, given: Mapping[str, Any]) -> Proof:
    access = call.registry.access(_text(given, "id"))
    if access is None:
        raise IdentityProblem(404, NO_TOKEN)  # so Keystone, and tempest asks for it
    if access.bearer.app_credential_id or access.bearer.credential_id or access.trust is not None:
        raise IdentityProblem(
            403, "A token of an application credential, an EC2 credential or a trust cannot be exchanged for another one."
        )
    return Proof(access.user, access.bearer.methods, access.bearer.expires_us, access.bearer.audit_ids[-1])


async def _by_app_credential(call: Call, given: Mapping[str, Any]) -> Proof:
    secret, id_, name = _text(given, "secret"), _text(given, "id"), _text(given, "name")
    credential = call.registry.app_credential(id_) if id_ else None
    if not id_:
        if not name:
            raise IdentityProblem(400, _MALFORMED.format("id or name of the application credential"))
        user = _user(call, _object(given, "user"))
        if user is not None:
            found = call.registry.named(AppCredential(RECORD_VERSION, "", name, user_id=user.id))
            credential = call.registry.app_credential(found.id) if found is not None else None
    who = credential.id if credential is not None else f"{id_}/{name}"
    right = await call.identity.passwords.check(f"app/{who}", secret, credential.secret if credential is not None else "")
    user = call.registry.get(Person, credential.user_id) if credential is not None else None
    if credential is None or not right or user is None or not call.registry.is_usable(user):
        raise unauthorized()
    return Proof(user, expires_us=credential.expires_us, credential=credential)


async def _by_passcode(call: Call, given: Mapping[str, Any]) -> Proof:
    asked = _object(given, "user")
    code = _text(asked, "passcode")
    user = _user(call, asked)
    if user is None or not call.registry.is_usable(user):
        raise unauthorized()
    secrets = [secret_of(call.registry.secret_of(credential)) for credential in call.registry.totp_of(user)]
    if not call.identity.passcodes.check(user.id, secrets, code):
        raise unauthorized()
    return Proof(user)


_BY = {"password": _by_password, "token": _by_token, "application_credential": _by_app_credential, "totp": _by_passcode}
assert tuple(_BY) == METHODS


async def _prove(call: Call, identity: Mapping[str, Any]) -> Proof:
    methods = identity.get("methods")
    if not isinstance(methods, list) or not methods or len(methods) > 8 or not all(isinstance(method, str) for method in methods):
        raise IdentityProblem(400, _MALFORMED.format("methods"))
    proof: Proof | None = None
    for method in dict.fromkeys(methods):
        if method not in _BY:
            raise unauthorized("Attempted to authenticate with an unsupported method.")
        found = await _BY[method](call, _object(identity, method))
        if proof is None:
            proof = found
        elif (proof.user.id, proof.user.valid_from_us) != (found.user.id, found.user.valid_from_us):
            raise unauthorized()
        else:
            ends = [us for us in (proof.expires_us, found.expires_us) if us]
            proof.expires_us = min(ends) if ends else 0
            proof.line = proof.line or found.line
            proof.credential = proof.credential or found.credential
            proof.methods += found.methods
    assert proof is not None
    proof.methods = tuple(dict.fromkeys([*proof.methods, *methods]))
    return proof


# -- what for -------------------------------------------------------------------------------------------------------


def _scope(call: Call, proof: Proof, wanted: Any) -> str:
    """The target asked for.  Whether there are roles on it is judged after.  Raises 400, 401."""
    if proof.credential is not None:
        if wanted is not None:
            raise unauthorized(NO_SCOPE)
        return f"p:{proof.credential.project_id}"
    if wanted is None:
        project = call.registry.get(Project, proof.user.default_project_id)
        usable = project is not None and call.registry.is_usable(project)
        target = f"p:{proof.user.default_project_id}"
        return target if usable and call.registry.roles_on(proof.user, target) else ""
    if wanted == "unscoped" or (isinstance(wanted, dict) and "unscoped" in wanted):
        return ""
    if not isinstance(wanted, dict) or len(wanted) != 1:
        raise IdentityProblem(400, "scope must be one of project, domain, system, or 'unscoped'")
    (kind, given), *_ = wanted.items()
    if kind == "project":
        return _project_scope(call, given)
    if kind == "domain":
        domain = _domain(call, given)
        if domain is None:
            raise unauthorized()
        return f"d:{domain.id}"
    if kind == "system":
        if not isinstance(given, dict) or given.get("all") is not True:
            raise IdentityProblem(400, "system must be {'all': true}")
        return SYSTEM
    raise IdentityProblem(400, "scope must be one of project, domain, system, or 'unscoped'")


def _project_scope(call: Call, given: Any) -> str:
    if not isinstance(given, dict):
        raise IdentityProblem(400, _MALFORMED.format("project"))
    id_, name = _text(given, "id"), _text(given, "name")
    if not id_ and not name:
        raise IdentityProblem(400, _MALFORMED.format("id or name of the project"))
    if id_:
        project = call.registry.get(Project, id_)
    else:
        domain = _domain(call, given.get("domain"))
        project = None if domain is None else call.registry.project_named(name, domain.id)
    if project is None:
        raise unauthorized()
    return f"p:{project.id}"


async def issue(call: Call) -> Answer:
    """POST /auth/tokens."""
    auth = call.body.get("auth")
    if not isinstance(auth, dict):
        raise IdentityProblem(400, _MALFORMED.format("auth"))
    receipt = receipt_of(call)
    proof = await _prove(call, _object(auth, "identity"))
    if receipt is not None:
        if (receipt.user_id, receipt.proved_from_us) != (proof.user.id, proof.user.valid_from_us):
            raise unauthorized()
        proof.methods = tuple(dict.fromkeys([*receipt.methods, *proof.methods]))
    if not suffices(proof.user, proof.methods):
        if proof.credential is not None or proof.expires_us:
            raise unauthorized()  # a receipt does not say how such a proof is bounded: all methods come in one request
        return receipt_answer(call, proof.user, proof.methods)
    asked = auth.get("scope")
    if isinstance(asked, dict) and "OS-TRUST:trust" in asked:
        return await _by_trust(call, proof, asked)
    scope = _scope(call, proof, auth.get("scope"))
    bearer = new_bearer(call, proof.user, proof.methods, scope, expires_us=proof.expires_us, line=proof.line, credential=proof.credential)
    return token_answer(call, bearer, 201)


async def _by_trust(call: Call, proof: Proof, asked: Mapping[str, Any]) -> Answer:
    """A token of a trust, for its trustee.  Raises 403 alike for trusts of others and for none."""
    if proof.credential is not None:
        raise unauthorized(NO_SCOPE)
    trust = call.registry.trust(_text(_object(asked, "OS-TRUST:trust"), "id"))
    if len(asked) != 1 or trust is None or trust.trustee_id != proof.user.id:
        raise IdentityProblem(403, "User is not a trustee.")
    user = call.registry.get(Person, trust.trustor_id if trust.impersonation else trust.trustee_id)
    ends = min((us for us in (proof.expires_us, *(above.expires_us for above in trust_line(call.registry, trust))) if us), default=0)
    scope = f"p:{trust.project_id}"
    bearer = new_bearer(
        call, user or proof.user, proof.methods, scope, expires_us=ends, line=proof.line, trust_id=trust.id, proved=proof.user
    )
    if call.registry.judge(bearer) is None:
        raise IdentityProblem(403, "Trustee has no delegated roles.")
    await use(call, trust)
    return token_answer(call, bearer, 201)


def new_bearer(
    call: Call,
    user: Person,
    methods: tuple[str, ...],
    scope: str,
    *,
    expires_us: int = 0,
    line: str = "",
    credential: AppCredential | None = None,
    credential_id: str = "",
    trust_id: str = "",
    proved: Person | None = None,
) -> Bearer:
    """What a new token will say; `proved` is who showed a proof, where that is not `user`.  Both are as they were when it was looked at."""
    now_us = call.identity.now_us()
    ends = now_us + int(min(call.identity.settings.token_s, MAX_TOKEN_S) * 1e6)
    audit_id = call.registry.rng.token(16).hex()[:22]
    app_id = credential.id if credential is not None else ""
    audit_ids = (audit_id, line) if line else (audit_id,)
    expires_us = min(ends, expires_us) if expires_us else ends
    since_us = (proved or user).valid_from_us
    return Bearer(1, user.id, methods, scope, now_us, expires_us, audit_ids, app_id, credential_id, trust_id, since_us)


def token_answer(call: Call, bearer: Bearer, status: int) -> Answer:
    """A new token and what it is good for.  Raises 401 when that is nothing."""
    access = call.registry.judge(bearer)
    if access is None:
        raise unauthorized()
    token = call.registry.bearers.seal(bearer)
    return Answer(status, token_body(call, access), [(b"x-subject-token", token.encode()), (b"vary", b"X-Auth-Token")])


# -- how it is shown ------------------------------------------------------------------------------------------------


def token_body(call: Call, access: Access) -> View:
    """The document of a token."""
    bearer, user = access.bearer, access.user
    token: View = {
        "methods": list(bearer.methods),
        "user": {"id": user.id, "name": user.name, "domain": brief(access.domain), "password_expires_at": password_expiry(user)},
        "audit_ids": list(bearer.audit_ids),
        "expires_at": time_text(bearer.expires_us),
        "issued_at": time_text(bearer.issued_us),
    }
    if access.project is not None:
        token["project"] = {"id": access.project.id, "name": access.project.name, "domain": brief(access.project_domain)}
        token["is_domain"] = False
    if access.scope_domain is not None:
        token["domain"] = brief(access.scope_domain)
    if access.system:
        token["system"] = {"all": True}
    if bearer.scope:
        token["roles"] = named(access.roles)
        if "nocatalog" not in call.query:
            token["catalog"] = catalog(call, access)
    trust, credential = access.trust, access.app_credential
    if trust is not None:
        token["OS-TRUST:trust"] = {
            "id": trust.id, "impersonation": trust.impersonation, "trustor_user": {"id": trust.trustor_id}, "trustee_user": {"id": trust.trustee_id},
        }  # fmt: skip
    if credential is not None:
        token["application_credential"] = {"id": credential.id, "name": credential.name, "restricted": not credential.unrestricted}
        if credential.limited:
            rules = [rule for rule in (call.registry.get(AccessRule, id_) for id_ in credential.rules) if rule is not None]
            token["application_credential"]["access_rules"] = [rule_view(call, rule, links=False) for rule in rules]
    return {"token": token}


def catalog(call: Call, access: Access) -> list[View]:
    """The services and where they answer this caller."""
    ids = {"user_id": access.user.id}
    if access.project is not None:
        ids |= {"project_id": access.project.id, "tenant_id": access.project.id}
    found: list[View] = []
    endpoints = [endpoint for endpoint in call.registry.all(Endpoint) if endpoint.enabled]
    if access.project is not None:
        endpoints = endpoints_for(call.registry, access.project.id, endpoints)
    for service in call.registry.all(Service):
        if not service.enabled:
            continue
        shown: list[View] = []
        for endpoint in endpoints:
            url = _filled(endpoint.url, ids) if endpoint.service_id == service.id else ""
            if url:
                region = endpoint.region_id or None
                shown.append({"id": endpoint.id, "interface": endpoint.interface, "region": region, "region_id": region, "url": url})
        found.append({"id": service.id, "type": service.type, "name": service.name, "endpoints": shown})
    return found


def _filled(url: str, ids: Mapping[str, str]) -> str:
    for name in ("project_id", "tenant_id", "user_id"):
        for form in (f"$({name})s", f"%({name})s"):
            if form in url:
                if name not in ids:
                    return ""
                url = url.replace(form, ids[name])
    return url


# -- tokens of others -----------------------------------------------------------------------------------------------


def _subject(call: Call) -> tuple[str, Access]:
    """The token that a call is about.  Raises 400, 403, 404."""
    token = call.headers.get("x-subject-token", "")
    if not token:
        raise IdentityProblem(400, "X-Subject-Token is missing: it names the token that this is about.")
    own = hmac.compare_digest(token.encode(), call.headers.get("x-auth-token", "").encode())
    access = call.registry.access(token)
    service = call.who.is_service or may_read(call.who)
    if access is None and truth(call.query.get("allow_expired", "0")) and service:
        access = _expired(call, token)
    if access is None:
        raise IdentityProblem(404, NO_TOKEN)
    if not own and not service and access.user.id != call.who.user.id:
        raise forbidden(f"identity:{call.action}")
    return token, access


def _expired(call: Call, token: str) -> Access | None:
    bearer = call.registry.bearers.open(token, call.identity.now_us())
    if bearer is None or bearer.expires_us + int(call.identity.settings.expired_token_s * 1e6) < call.identity.now_us():
        return None
    return call.registry.judge(bearer)


async def show(call: Call) -> Answer:
    """GET /auth/tokens."""
    if call.registry.access(call.headers.get("x-subject-token", "")) is None:
        await call.registry.feed.refresh()  # its user, or the key it is sealed with, may have been made elsewhere a moment ago
    token, access = _subject(call)
    return Answer(200, token_body(call, access), [(b"x-subject-token", token.encode()), (b"vary", b"X-Auth-Token")])


async def revoke(call: Call) -> Answer:
    """DELETE /auth/tokens."""
    _, access = _subject(call)
    if access.user.id != call.who.user.id and not call.who.is_admin:
        raise forbidden("identity:revoke_token")
    await call.registry.revoke(access.bearer, access.trust.trustee_id if access.trust is not None else "")
    return Answer(204)


async def show_catalog(call: Call) -> Answer:
    """GET /auth/catalog."""
    if not call.who.bearer.scope:
        raise IdentityProblem(403, "A catalog is for a scope; this token is unscoped.")
    return Answer(body={"catalog": catalog(call, call.who), "links": {"self": call.link("/auth/catalog"), "previous": None, "next": None}})


async def own_projects(call: Call) -> Answer:
    """GET /auth/projects: where the caller could go."""
    found = [project_view(call, project) for project in call.registry.projects_of(call.who.user)]
    return Answer(body={"projects": found, "links": {"self": call.link("/auth/projects"), "previous": None, "next": None}})


async def own_domains(call: Call) -> Answer:
    """GET /auth/domains."""
    found = [domain_view(call, domain) for domain in call.registry.domains_of(call.who.user)]
    return Answer(body={"domains": found, "links": {"self": call.link("/auth/domains"), "previous": None, "next": None}})


async def own_system(call: Call) -> Answer:
    """GET /auth/system."""
    found = [{"all": True}] if call.registry.roles_on(call.who.user, SYSTEM) else []
    return Answer(body={"system": found, "links": {"self": call.link("/auth/system")}})


ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("POST", "/auth/tokens"): ("authenticate", issue),
    ("GET", "/auth/tokens"): ("validate_token", show),
    ("DELETE", "/auth/tokens"): ("revoke_token", revoke),
    ("GET", "/auth/catalog"): ("get_auth_catalog", show_catalog),
    ("GET", "/auth/projects"): ("get_auth_projects", own_projects),
    ("GET", "/auth/domains"): ("get_auth_domains", own_domains),
    ("GET", "/auth/system"): ("get_auth_system", own_system),
}
