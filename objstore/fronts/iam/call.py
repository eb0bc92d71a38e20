"""One call of IAM or STS: its parameters, who makes it, and whether they may.

Parameters come as a form; lists as Name.member.1, Name.member.2.  Every limit is here: a call of 256 KiB and 2,000 parameters is refused.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from objstore.core.policy import Ask, Caller, Effect, Kind, Policy, parse_policy
from objstore.errors import MalformedPolicy
from objstore.fronts.s3.times import iso_time
from objstore.fronts.s3.xml import element, escape
from objstore.identity.changes import Changes
from objstore.identity.directory import Directory
from objstore.identity.entities import (
    GROUP,
    ROLE,
    USER,
    Holder,
    HolderKey,
    IdentityRefused,
    ManagedPolicy,
    WebProvider,
    arn_of,
    check_name,
    check_path,
    in_own_account,
    invalid,
    no_such,
)
from objstore.objects.api import Principal

MAX_BODY_BYTES = 256 * 1024
MAX_PARAMETERS = 2000
MAX_ITEMS = 1000
DEFAULT_ITEMS = 100
MAX_DOCUMENT_CHARS = 131_072
_MEMBER = re.compile(r"member\.([1-9]\d{0,3})")
_TEXT = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def parse_form(text: bytes) -> dict[str, str]:
    """Parameters of a form.  Raises IdentityRefused."""
    if len(text) > MAX_BODY_BYTES:
        raise invalid("The request is too large.")
    items = text.split(b"&", MAX_PARAMETERS) if text else []
    if len(items) > MAX_PARAMETERS:
        raise invalid("The request has too many parameters.")
    found: dict[str, str] = {}
    for item in items:
        name, _, value = item.replace(b"+", b" ").partition(b"=")
        try:
            key, content = unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise IdentityRefused("MalformedQueryString", "The query string is not UTF-8.") from None
        if key in found:
            raise IdentityRefused("MalformedQueryString", f"The parameter {key[:64]} is repeated.")
        found[key] = content
    return found


@dataclass(slots=True)
class Call:
    """A call under way."""

    action: str
    parameters: Mapping[str, str]
    who: Principal
    directory: Directory
    changes: Changes
    now_us: int
    facts: Mapping[str, str] | None = None  # of the request, by lower-case condition key

    @property
    def account(self) -> str:
        """The account that the call is about."""
        return self.who.account

    @property
    def temporary(self) -> bool:
        """Whether the caller signs with credentials that STS gave out."""
        return self.who.facts.get("sts:authentication") == "true"

    # -- parameters -------------------------------------------------------------------------------------------

    def text(self, name: str, default: str | None = None, *, least: int = 1, most: int = MAX_DOCUMENT_CHARS) -> str:
        """A parameter.  Raises IdentityRefused when it is missing and has no default, or is too long."""
        value = self.parameters.get(name)
        if value is None or (value == "" and default is not None):
            if default is None:
                raise invalid(f"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null")
            return default
        if not least <= len(value) <= most or _TEXT.fullmatch(value) is None:
            raise invalid(
                f"1 validation error detected: Value at '{name}' failed to satisfy constraint: length from {least} to {most}, characters that XML has"
            )
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A number in bounds.  Raises IdentityRefused."""
        value = self.parameters.get(name, "")
        if not value:
            return default
        if not (value.isascii() and value.isdigit()) or len(value) > 9 or not least <= int(value) <= most:
            raise invalid(
                f"1 validation error detected: Value '{value[:20]}' at '{name}' failed to satisfy constraint: Member must be between {least} and {most}"
            )
        return int(value)

    def members(self, name: str) -> list[str]:
        """The texts of a list."""
        found: dict[int, str] = {}
        for parameter, value in self.parameters.items():
            if parameter.startswith(name + "."):
                match = _MEMBER.fullmatch(parameter[len(name) + 1 :])
                if match is not None:
                    found[int(match[1])] = value
        return [found[number] for number in sorted(found)]

    def tags(self) -> dict[str, str]:
        """The tags of Tags.member.N.Key and .Value.  Raises IdentityRefused."""
        found: dict[str, str] = {}
        for parameter, key in self.parameters.items():
            if parameter.startswith("Tags.member.") and parameter.endswith(".Key"):
                if key in found:
                    raise IdentityRefused("InvalidInput", "Duplicate tag keys found.")
                found[key] = self.parameters.get(parameter.removesuffix("Key") + "Value", "")
        return found

    def path(self) -> str:
        """The parameter Path.  Raises IdentityRefused."""
        return check_path(self.parameters.get("Path", ""))

    def document(self, name: str, kind: Kind, most_bytes: int) -> str:
        """A policy, seen to be one.  Raises IdentityRefused."""
        text = self.text(name)
        if len("".join(text.split())) > most_bytes:
            raise IdentityRefused("LimitExceeded", f"Cannot exceed quota for policy size: {most_bytes}", 409)
        try:
            parse_policy((in_own_account(text, self.account) if kind is Kind.TRUST else text).encode(), kind)
        except MalformedPolicy as failure:
            raise IdentityRefused("MalformedPolicyDocument", failure.message) from None
        return text

    # -- what a call names ------------------------------------------------------------------------------------

    def key(self, kind: str) -> HolderKey:
        """The user, group or role that the call names; without a name the user who calls.  Raises IdentityRefused."""
        parameter = PARAMETERS[kind]
        if kind == USER and not self.parameters.get(parameter):
            name = self.who.facts.get("aws:username", "")
            if not name or ":assumed-role/" in self.who.arn:
                raise invalid("Must specify userName when calling with non-User credentials")
            return HolderKey(USER, self.account, name)
        name = check_name(self.text(parameter), kind, parameter)
        if kind == USER and self.who.admin and self.directory.user(self.account, name) is None:
            # The cluster's administrator may name users of other accounts' identities file entries.
            other = self.directory.fixed_user_named(name)
            if other is not None:
                return HolderKey(USER, other.account, other.name)
        return HolderKey(kind, self.account, name)

    def holder(self, kind: str) -> Holder:
        """The same, as it is.  Raises IdentityRefused when there is none."""
        key = self.key(kind)
        found = self.directory.user(key.account, key.name) if kind == USER else self.directory.holders.get(key.record)
        if found is None:
            raise no_such(kind, key.name)
        return found

    def policy(self) -> ManagedPolicy:
        """The managed policy that PolicyArn names.  Raises IdentityRefused."""
        arn = self.text("PolicyArn", least=20, most=2048)
        found = self.directory.policy_by_arn(arn, self.account)
        if found is None:
            raise IdentityRefused("NoSuchEntity", f"Policy {arn} does not exist or is not attachable.", 404)
        return found

    def own_policy(self) -> ManagedPolicy:
        """The same, if it can be changed.  Raises IdentityRefused."""
        found = self.policy()
        if found.account != self.account:
            raise IdentityRefused("AccessDenied", "A built-in policy cannot be changed.", 403)
        return found

    def provider(self) -> WebProvider:
        """The provider that OpenIDConnectProviderArn names.  Raises IdentityRefused."""
        arn = self.text("OpenIDConnectProviderArn", least=20, most=2048)
        found = self.directory.providers.get(arn)
        if found is None or found.account != self.account:
            raise IdentityRefused("NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", 404)
        return found

    # -- whether they may -------------------------------------------------------------------------------------

    def lookup(self, key: str) -> Sequence[str] | None:
        """The value of a condition key."""
        value = (self.facts or {}).get(key)
        if value is None:
            value = self.who.facts.get(key)
        if value is None and key == "aws:currenttime":
            value = iso_time(self.now_us)
        elif value is None and key == "aws:epochtime":
            value = str(self.now_us // 1_000_000)
        elif value is None and key == "aws:principalaccount":
            value = self.account
        return None if value is None else (value,)

    @property
    def caller(self) -> Caller:
        """The caller, as policies name callers."""
        arns = dict.fromkeys((self.who.arn, self.who.facts.get("aws:principalarn", "")))
        return Caller(self.account, tuple(arn for arn in arns if arn), self.who.canonical_id, is_account=self.who.plain)

    def allows(self, action: str, resource: str) -> bool:
        """Whether the caller's own policies let them do something."""
        who = self.who
        if who.anonymous or not who.account:
            return False
        ask = Ask(self.caller, action, resource, self.lookup)
        groups = [who.policies, None if who.boundary is None else (who.boundary,), who.session_policies]
        return all(_allowed(group, ask) for group in groups if group is not None)

    def check(self, action: str, resource: str) -> None:
        """Raise IdentityRefused unless the caller may."""
        if self.who.anonymous:
            raise IdentityRefused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if not self.allows(action, resource):
            raise IdentityRefused(
                "AccessDenied", f"User: {self.who.arn} is not authorized to perform: {action} on resource: {resource}", 403
            )


def _allowed(policies: Iterable[Policy], ask: Ask) -> bool:
    allowed = False
    for policy in policies:
        effect = policy.evaluate(ask).effect
        if effect is Effect.DENY:
            return False
        allowed = allowed or effect is Effect.ALLOW
    return allowed


PARAMETERS = {USER: "UserName", GROUP: "GroupName", ROLE: "RoleName"}
Handler = Callable[[Call], Awaitable[str]]
Row = tuple[Callable[[Call], str], Handler]  # what the call is about, and who answers it


# -- what a call may be about ---------------------------------------------------------------------------------


def about(kind: str) -> Callable[[Call], str]:
    """The resource of a call that names a user, group or role."""

    def resource(call: Call) -> str:
        key = call.key(kind)
        found = call.directory.user(key.account, key.name) if kind == USER else call.directory.holders.get(key.record)
        return found.arn if found is not None else arn_of(key.account, kind, "/", key.name)

    return resource


def about_new(kind: str) -> Callable[[Call], str]:
    """The resource of a call that makes a user, group, role or policy."""
    parameter = PARAMETERS.get(kind, "PolicyName")
    return lambda call: arn_of(call.account, kind, call.path(), check_name(call.text(parameter), kind, parameter))


def about_all(kind: str) -> Callable[[Call], str]:
    """The resource of a call that lists."""
    return lambda call: arn_of(call.account, kind, call.parameters.get("PathPrefix", "/")[:512] or "/", "*")


def about_parameter(name: str) -> Callable[[Call], str]:
    """The resource of a call that names an ARN."""
    return lambda call: call.text(name, most=2048)


# -- answers --------------------------------------------------------------------------------------------------


def members(name: str, items: Iterable[str]) -> str:
    """A list."""
    return f"<{name}>{''.join([f'<member>{item}</member>' for item in items])}</{name}>"


def encoded(name: str, document: str) -> str:
    """A policy, percent-encoded as IAM shows it."""
    return element(name, quote(document, safe="-_.~"))


def times(name: str, us: int) -> str:
    """A time."""
    return f"<{name}>{iso_time(us)[:19]}Z</{name}>"


def shown_tags(tags: Mapping[str, str]) -> str:
    """Tags, where there are any."""
    return members("Tags", [element("Key", name) + element("Value", value) for name, value in tags.items()]) if tags else ""


def page(call: Call, name: str, items: Sequence[tuple[str, str]]) -> str:
    """One page of a list of (name, rendered): sorted without regard to case, cut at MaxItems, resumed behind Marker."""
    limit = call.number("MaxItems", DEFAULT_ITEMS, 1, MAX_ITEMS)
    marker = call.text("Marker", "", most=1024)
    after = (marker.lower(), marker)
    rest = sorted(((name.lower(), name), rendered) for name, rendered in items if (name.lower(), name) > after)
    shown = rest[:limit]
    tail = (
        f"<IsTruncated>true</IsTruncated><Marker>{escape(shown[-1][0][1])}</Marker>"
        if len(rest) > limit
        else "<IsTruncated>false</IsTruncated>"
    )
    return members(name, [rendered for _, rendered in shown]) + tail


def prefixed(call: Call, items: Iterable[Holder]) -> list[Holder]:
    """Those whose path begins with PathPrefix."""
    prefix = call.text("PathPrefix", "/", most=512)
    return [item for item in items if item.path.startswith(prefix)]
