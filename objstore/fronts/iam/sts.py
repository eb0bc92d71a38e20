"""STS: temporary credentials for roles, users and web identities."""

import re
from collections.abc import Sequence

from objstore.core.policy import Ask, Caller, Effect, Finding, Kind, Naming, parse_policy
from objstore.errors import InvalidArgument, MalformedPolicy
from objstore.fronts.iam.call import Call, Handler, times
from objstore.fronts.s3.xml import element
from objstore.identity.entities import (
    RECORD_VERSION,
    ROLE,
    SESSION_KEY_PREFIX,
    USER,
    Holder,
    HolderKey,
    IdentityRefused,
    check_tags,
    in_own_account,
    invalid,
    new_id,
    new_secret,
)
from objstore.identity.tokens import Session
from objstore.identity.web_tokens import Claims, KeySet, WebTokenRefused, issuer_of
from objstore.objects.api import Principal

MIN_SESSION_S = 900
MAX_USER_SESSION_S = 129_600
MAX_CHAINED_S = 3600  # of a role that was assumed by a role
MAX_POLICY_CHARS = 2048
MAX_POLICY_ARNS = 10
_ROLE_ARN = re.compile(r"arn:aws:iam::([^:/]{0,128}):role(/(?:[\x21-\x7e]{1,510}/)?)([A-Za-z0-9_+=,.@-]{1,64})")
_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")


def _denied(call: Call, action: str, resource: str) -> IdentityRefused:
    who = call.who.arn or "anonymous"
    return IdentityRefused("AccessDenied", f"User: {who} is not authorized to perform: {action} on resource: {resource}", 403)


def _role(call: Call, action: str) -> Holder:
    """The role that RoleArn names.  One that is not there is refused like one that may not be assumed."""
    arn = call.text("RoleArn", least=20, most=2048)
    match = _ROLE_ARN.fullmatch(arn)
    if match is None:
        raise invalid(f"{arn[:200]} is invalid")
    account, path, name = match.groups()
    role = call.directory.holders.get(HolderKey(ROLE, account or call.account, name).record)
    if role is None or role.path != path:
        raise _denied(call, action, arn)
    return role


def _session_name(call: Call) -> str:
    name = call.text("RoleSessionName", least=2, most=64)
    if _SESSION_NAME.fullmatch(name) is None:
        raise invalid("RoleSessionName must have 2 to 64 of a-z, A-Z, 0-9 and _+=,.@-")
    return name


def _session_policies(call: Call, account: str) -> tuple[str, ...] | None:
    found: list[str] = []
    text = call.text("Policy", "", most=MAX_POLICY_CHARS)
    if text:
        found.append(text)
        try:
            parse_policy(text.encode(), Kind.IDENTITY)
        except MalformedPolicy as failure:
            raise IdentityRefused("MalformedPolicyDocument", failure.message) from None
    arns = [value for name, value in call.parameters.items() if name.startswith("PolicyArns.member.") and name.endswith(".arn")]
    if len(arns) > MAX_POLICY_ARNS:
        raise invalid(f"At most {MAX_POLICY_ARNS} session policies.")
    for arn in arns:
        policy = call.directory.policy_by_arn(arn, account)
        if policy is None:
            raise IdentityRefused("ValidationError", f"Policy {arn[:200]} does not exist.")
        found.append(policy.document)
    return tuple(found) or None


def _trusts(role: Holder, ask: Ask) -> Finding:
    """What the role's trust policy says."""
    try:
        return parse_policy(in_own_account(role.trust, role.account).encode(), Kind.TRUST).evaluate(ask)
    except MalformedPolicy:
        return Finding()


def _credentials(
    call: Call, *, account: str, subject: str, subject_id: str, name: str, duration_s: int, facts: dict[str, str]
) -> tuple[str, Session]:
    now_s = call.now_us // 1_000_000
    rng = call.directory.rng
    session = Session(
        RECORD_VERSION, new_id(rng, SESSION_KEY_PREFIX, 20), new_secret(rng), account, subject, subject_id, name, now_s, now_s + duration_s,
        _session_policies(call, account), facts,
    )  # fmt: skip
    token = call.directory.sealer.seal(session)
    keys = element("AccessKeyId", session.access_key) + element("SecretAccessKey", session.secret_key) + element("SessionToken", token)
    return f"<Credentials>{keys}{times('Expiration', session.expires_s * 1_000_000)}</Credentials>", session


def _assumed(role: Holder, name: str) -> str:
    user_id = element("AssumedRoleId", f"{role.id}:{name}")
    return f"<AssumedRoleUser>{user_id}{element('Arn', f'arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}')}</AssumedRoleUser>"


async def assume_role(call: Call) -> str:
    """AssumeRole."""
    action = "sts:AssumeRole"
    _check_signed(call)
    name, tags = _session_name(call), check_tags(call.tags())
    role = _role(call, action)
    chained = ":assumed-role/" in call.who.arn
    most = MAX_CHAINED_S if chained else role.max_session_s
    duration_s = call.number("DurationSeconds", 3600, MIN_SESSION_S, most)
    external = call.text("ExternalId", "", most=1224)
    asked = {"sts:rolesessionname": name, **({"sts:externalid": external} if external else {})}
    asked |= {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}

    def lookup(key: str) -> Sequence[str] | None:
        return (asked[key],) if key in asked else call.lookup(key)

    # Tags become facts of the session that policies decide by, so whoever may assume a role may not yet choose them.
    for wanted in (action, "sts:TagSession") if tags else (action,):
        finding = _trusts(role, Ask(call.caller, wanted, role.arn, lookup))
        # Whom the trust policy names only by account, or from another account, must be allowed by the own policies as well.
        enough = finding.naming in (Naming.SELF, Naming.ROLE) and role.account == call.account and not _narrowed(call, wanted, role.arn)
        if finding.effect is not Effect.ALLOW or not (enough or call.allows(wanted, role.arn)):
            raise _denied(call, wanted, role.arn)
    facts = {f"aws:principaltag/{key.lower()}": value for key, value in tags.items()}
    text, _ = _credentials(
        call, account=role.account, subject=f"{ROLE}/{role.name}", subject_id=role.id, name=name, duration_s=duration_s, facts=facts
    )  # fmt: skip
    return text + _assumed(role, name) + _source(call)


def _narrowed(call: Call, action: str, resource: str) -> bool:
    """Whether something forbids the caller what the trust policy allows: a denial, a boundary, a session's policies."""
    who = call.who
    ask = Ask(call.caller, action, resource, call.lookup)
    limits = [group for group in (None if who.boundary is None else (who.boundary,), who.session_policies) if group is not None]
    if any(all(policy.evaluate(ask).effect is not Effect.ALLOW for policy in group) for group in limits):
        return True
    return any(policy.evaluate(ask).effect is Effect.DENY for group in (who.policies or (), *limits) for policy in group)


def _source(call: Call) -> str:
    source = call.text("SourceIdentity", "", most=64)
    return element("SourceIdentity", source) if source else ""


async def get_session_token(call: Call) -> str:
    """GetSessionToken."""
    _check_signed(call)
    # Else who came by temporary credentials could renew them for ever (Keystone CVE-2026-44394).
    if call.temporary or call.parameters.get("Policy"):
        raise IdentityRefused("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)
    user = _own_user(call)
    duration_s = call.number("DurationSeconds", 43_200, MIN_SESSION_S, MAX_USER_SESSION_S)
    text, _ = _credentials(
        call, account=user.account, subject=f"{USER}/{user.name}", subject_id=user.id, name=user.name, duration_s=duration_s, facts={}
    )  # fmt: skip
    return text


def _own_user(call: Call) -> Holder:
    """The user who signs, whatever the parameters say: here nobody is asked whether they may act for another.  Raises IdentityRefused."""
    if "UserName" in call.parameters:
        raise invalid("UserName is no parameter of this call: session credentials are those of the user who asks.")
    user = call.directory.user(call.account, call.who.facts.get("aws:username", ""))
    if user is None or call.directory.arn_of(user) != call.who.arn:
        raise IdentityRefused("AccessDenied", "GetSessionToken is for users with access keys of their own", 403)
    return user


async def get_caller_identity(call: Call) -> str:
    """GetCallerIdentity."""
    _check_signed(call)
    return element("Arn", call.who.arn) + element("UserId", call.who.facts.get("aws:userid", "")) + element("Account", call.account)


def _check_signed(call: Call) -> None:
    if call.who.anonymous:
        raise IdentityRefused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)


async def assume_role_with_web_identity(call: Call) -> str:
    """AssumeRoleWithWebIdentity."""
    action = "sts:AssumeRoleWithWebIdentity"
    name = _session_name(call)
    token = call.text("WebIdentityToken", least=4, most=20_000)
    role = _role(call, action)
    call.who = Principal(account=role.account, anonymous=True)  # who is asked about is the web identity, whoever signed besides
    duration_s = call.number("DurationSeconds", 3600, MIN_SESSION_S, role.max_session_s)
    issuer = issuer_of(token)
    provider = call.directory.providers.get(f"arn:aws:iam::{role.account}:oidc-provider/{issuer}")
    if provider is None or not provider.keys:
        raise IdentityRefused(
            "InvalidIdentityToken", "No OpenIDConnect provider found in your account for the token's issuer, or its keys are not known."
        )
    try:
        keys = KeySet(provider.keys)
        claims = keys.verify(token, issuer=provider.url, clients=provider.clients, now_s=call.now_us // 1_000_000)
    except WebTokenRefused as failure:
        raise IdentityRefused("ExpiredTokenException" if failure.expired else "InvalidIdentityToken", failure.message) from None
    except InvalidArgument:
        raise IdentityRefused("InvalidIdentityToken", "The provider's keys cannot be read.") from None
    facts = _web_facts(provider.url, claims)

    def lookup(key: str) -> Sequence[str] | None:
        if key == "sts:rolesessionname":
            return (name,)
        found = facts.get(key)
        return found if found is not None else call.lookup(key)

    finding = _trusts(role, Ask(Caller(federated=provider.arn), action, role.arn, lookup))
    if finding.effect is not Effect.ALLOW:
        raise _denied(call, action, role.arn)
    kept = {key: values[0] for key, values in facts.items()} | {"aws:federatedprovider": provider.arn}
    text, _ = _credentials(
        call, account=role.account, subject=f"{ROLE}/{role.name}", subject_id=role.id, name=name, duration_s=duration_s, facts=kept
    )  # fmt: skip
    audience = element("Audience", claims.audiences[0]) if claims.audiences else ""
    return text + element("SubjectFromWebIdentityToken", claims.sub) + _assumed(role, name) + element("Provider", provider.url) + audience


def _web_facts(url: str, claims: Claims) -> dict[str, tuple[str, ...]]:
    """What conditions of a trust policy may ask of a web identity."""
    audiences = tuple(dict.fromkeys([claims.azp] if claims.azp else claims.audiences))
    return {f"{url.lower()}:sub": (claims.sub,), f"{url.lower()}:aud": audiences, f"{url.lower()}:app_id": audiences}


ACTIONS: dict[str, Handler] = {
    "AssumeRole": assume_role,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "GetCallerIdentity": get_caller_identity,
    "GetSessionToken": get_session_token,
}
