"""Policies: documents that allow and deny, parsed once and evaluated often.

A document is that of the AWS reference "IAM JSON policy elements".  One parser serves all: policies of buckets (with
principals, about one bucket), of identities and sessions (without), and trust policies of roles.  Parsing is total and
refuses with AWS's words; evaluation knows no clock and no network, it asks `Ask` for what a request says.

An explicit deny wins over any allow.  What follows from an allow is for `objects/access.py` to say.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import msgspec

from objstore.core.glob import Glob, Lookup, effort
from objstore.core.policy_conditions import BadCondition, Condition, is_closed, mentioned, parse_conditions
from objstore.errors import MalformedPolicy

MAX_POLICY_BYTES = 20 * 1024
MAX_EFFORT = 512  # of the patterns of a policy: a millisecond for each of the longest values
VERSIONS = ("2012-10-17", "2008-10-17")
S3_ARN = "arn:aws:s3:::"

_ACTION = re.compile(r"\*|[A-Za-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128}")
_S3_ACTION = re.compile(r"\*|s3:[a-z*?]{1,128}", re.IGNORECASE)
_SID = re.compile(r"[\x20-\x7e]{0,256}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+=-]{0,127}")
_IDENTITY_ARN = re.compile(r"arn:aws:(iam|sts)::([A-Za-z0-9_.@+=-]{1,128}):([\x21-\x7e]{1,600})")
_CANONICAL = re.compile(r"[A-Za-z0-9_.@+=$-]{1,128}")
_TOP = frozenset(("Version", "Id", "Statement"))
_ELEMENTS = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)  # fmt: skip
EXISTING_TAG = "s3:existingobjecttag/"

# S3's own condition keys.  A key that S3 does not have is refused: a Deny under a misspelt one would never deny.
_S3_KEYS = frozenset(
    (
        "s3:accesspointnetworkorigin", "s3:authtype", "s3:dataaccesspointaccount", "s3:dataaccesspointarn", "s3:delimiter", "s3:if-match",
        "s3:if-none-match", "s3:locationconstraint", "s3:max-keys", "s3:object-lock-legal-hold", "s3:object-lock-mode",
        "s3:object-lock-remaining-retention-days", "s3:object-lock-retain-until-date", "s3:objectcreationoperation", "s3:prefix",
        "s3:requestobjecttagkeys", "s3:resourceaccount", "s3:signatureage", "s3:signatureversion", "s3:tlsversion", "s3:versionid",
        "s3:x-amz-acl", "s3:x-amz-content-sha256", "s3:x-amz-copy-source", "s3:x-amz-grant-full-control", "s3:x-amz-grant-read",
        "s3:x-amz-grant-read-acp", "s3:x-amz-grant-write", "s3:x-amz-grant-write-acp", "s3:x-amz-metadata-directive",
        "s3:x-amz-object-ownership", "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "s3:x-amz-server-side-encryption-customer-algorithm", "s3:x-amz-storage-class", "s3:x-amz-tagging-directive",
        "s3:x-amz-website-redirect-location",
    )
)  # fmt: skip
_S3_KEY_FAMILIES = (EXISTING_TAG, "s3:requestobjecttag/")


class Effect(Enum):
    """What a statement does where it applies."""

    ALLOW = "Allow"
    DENY = "Deny"


class Naming(IntEnum):
    """How a statement names a caller; more is closer.

    A statement that names only the caller's account leaves it to the account's own policies who in it may.
    """

    NOT = 0
    ACCOUNT = 1
    ROLE = 2  # the role of a session
    SELF = 3  # the caller, or everybody


class Kind(Enum):
    """What a document is attached to."""

    BUCKET = "bucket"
    IDENTITY = "identity"
    TRUST = "trust"


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as policies name callers."""

    account: str = ""  # empty: anonymous
    arns: tuple[str, ...] = ()  # the own first, then that of the role behind a session
    canonical_id: str = ""
    service: str = ""
    federated: str = ""
    is_account: bool = False  # stands for the account itself, as its root does


class Ask(msgspec.Struct, frozen=True):
    """A question: may `caller` do `action` to `resource`?  `lookup` gives the values of condition keys (lower case)."""

    caller: Caller
    action: str
    resource: str
    lookup: Lookup


@dataclass(frozen=True, slots=True)
class Principals:
    """The Principal or NotPrincipal of a statement."""

    everybody: bool
    accounts: frozenset[str]
    arns: frozenset[str]
    canonical_ids: frozenset[str]
    services: frozenset[str]
    federated: frozenset[str]
    inverted: bool = False

    def naming(self, caller: Caller) -> Naming:
        """How the statement names a caller."""
        found = self._listed(caller)
        if self.inverted:
            # An account on a list of exceptions is its root: "all but bob and the account" leaves out none of its other users.
            excepted = found is Naming.SELF or found is Naming.ROLE or (found is Naming.ACCOUNT and caller.is_account)
            return Naming.NOT if excepted else Naming.SELF
        return found

    def _listed(self, caller: Caller) -> Naming:
        if self.everybody:
            return Naming.SELF
        if (caller.service and caller.service in self.services) or (caller.federated and caller.federated in self.federated):
            return Naming.SELF
        for index, arn in enumerate(caller.arns):
            if arn in self.arns:
                return Naming.ROLE if index else Naming.SELF
        # A canonical id is that of an account, whoever of its users asks.
        named = caller.account in self.accounts or caller.canonical_id in self.canonical_ids
        return Naming.ACCOUNT if caller.account and named else Naming.NOT


class _Names:
    """Actions or resources of a statement: exact ones in a set, patterns one by one."""

    __slots__ = ("_exact", "_globs", "inverted", "texts")

    def __init__(self, texts: Sequence[str], *, inverted: bool, fold: bool, variables: bool) -> None:
        self.texts = tuple(texts)
        self.inverted = inverted
        globs = [Glob(text, variables=variables, fold=fold) for text in texts]
        self._exact = frozenset(g.text.lower() if fold else g.text for g in globs if g.fixed and "${" not in g.text)
        self._globs = tuple(g for g in globs if not g.fixed or "${" in g.text)

    def fit(self, text: str, lookup: Lookup) -> bool:
        if text in self._exact:
            return not self.inverted
        for glob in self._globs:
            if glob.matches(text, lookup):
                return not self.inverted
        return self.inverted


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.  `principals` is None in a policy of an identity, whoever it belongs to."""

    sid: str
    effect: Effect
    principals: Principals | None
    actions: _Names
    resources: _Names | None
    conditions: tuple[Condition, ...]

    def naming(self, ask: Ask) -> Naming:
        """Whether the statement, which is about the resource, applies, and how closely it names the caller."""
        naming = Naming.SELF if self.principals is None else self.principals.naming(ask.caller)
        if naming:
            for condition in self.conditions:
                if not condition.holds(ask.lookup):
                    return Naming.NOT
        return naming

    def reason_against(self, ask: Ask) -> str:
        """Why the statement does not apply; empty when it does."""
        if not self.actions.fit(ask.action.lower(), ask.lookup):
            return f"action {ask.action} is not among {', '.join(self.actions.texts)}"
        if self.resources is not None and not self.resources.fit(ask.resource, ask.lookup):
            return f"resource {ask.resource} is not among {', '.join(self.resources.texts)}"
        if self.principals is not None and not self.principals.naming(ask.caller):
            return "it is not about this caller"
        for condition in self.conditions:
            if not condition.holds(ask.lookup):
                values = ask.lookup(condition.key)
                shown = "is not in the request" if values is None else f"is {', '.join(values)}"
                return f"condition {condition.operator} {condition.key} fails: it {shown}, the policy says {', '.join(condition.values)}"
        return ""


class Finding(msgspec.Struct, frozen=True):
    """What a policy says: `effect` None is nothing, which denies unless something else allows."""

    effect: Effect | None = None
    naming: Naming = Naming.NOT
    statement: Statement | None = None
    number: int = -1  # of the statement, from 0


NOTHING = Finding()


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A parsed policy."""

    version: str
    id: str
    statements: tuple[Statement, ...]
    text: str  # as it came
    reads_tags: bool  # some condition asks for the tags of the object
    is_public: bool  # some statement allows everybody
    _by_action: dict[str, tuple[tuple[int, Statement], ...]] = field(default_factory=dict)

    def evaluate(self, ask: Ask) -> Finding:
        """A deny if any statement denies, else the allow that names the caller most closely."""
        best = NOTHING
        resources, fits = None, True  # of the statement before: those of a bucket's policy mostly have the same
        for number, statement in self._about(ask):
            if statement.effect is Effect.ALLOW and best.naming is Naming.SELF:
                continue
            if statement.resources is not resources:
                resources = statement.resources
                fits = resources is None or resources.fit(ask.resource, ask.lookup)
            naming = statement.naming(ask) if fits else Naming.NOT
            if naming:
                if statement.effect is Effect.DENY:
                    return Finding(Effect.DENY, naming, statement, number)
                if naming > best.naming:
                    best = Finding(Effect.ALLOW, naming, statement, number)
        return best

    def explain(self, ask: Ask) -> list[str]:
        """For each statement: whether it applies, and why not."""
        lines = []
        for number, statement in enumerate(self.statements):
            reason = statement.reason_against(ask)
            lines.append(f"{label(statement, number)}: {reason or 'applies'}")
        return lines

    def _about(self, ask: Ask) -> tuple[tuple[int, Statement], ...]:
        action = ask.action
        found = self._by_action.get(action)
        if found is None:
            # No action has a variable, so this depends on nothing but its name.
            folded = action.lower()
            found = tuple((n, s) for n, s in enumerate(self.statements) if s.actions.fit(folded, ask.lookup))
            if len(self._by_action) < _KEPT_ACTIONS:
                self._by_action[action] = found
        return found


_KEPT_ACTIONS = 256  # more than there are actions here; whoever asks about others is served without


def label(statement: Statement, number: int) -> str:
    """How a statement is shown: `Deny "sid" (statement 2)`."""
    name = f' "{statement.sid}"' if statement.sid else ""
    return f"{statement.effect.value}{name} (statement {number + 1})"


# -- parsing --------------------------------------------------------------------------------------------------


def parse_policy(data: bytes, kind: Kind, *, bucket: str = "") -> Policy:
    """Read a policy; one of a bucket must be about `bucket`.  Raises MalformedPolicy on anything else."""
    if len(data) > MAX_POLICY_BYTES:
        raise MalformedPolicy(f"Policy exceeds the maximum allowed document size of {MAX_POLICY_BYTES} bytes.")
    document = _load(data)
    for name in document:
        if name not in _TOP:
            raise MalformedPolicy(f"Unknown field {name}")
    version = document.get("Version", VERSIONS[1])
    if version not in VERSIONS:
        raise MalformedPolicy("The policy must contain a valid version string")
    identifier = document.get("Id", "")
    if not isinstance(identifier, str):
        raise MalformedPolicy("Invalid policy syntax: Id must be a string.")
    if "Statement" not in document:
        raise MalformedPolicy("Missing required field Statement")
    listed = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    if not listed:
        raise MalformedPolicy("Could not parse the policy: Statement is empty!")
    parser = _Parser(kind, bucket, variables=version == VERSIONS[0])
    statements = tuple(parser.statement(item) for item in listed)
    sids = [statement.sid for statement in statements if statement.sid]
    if len(set(sids)) != len(sids):
        raise MalformedPolicy("Statement IDs (SID) in a single policy must be unique.")
    if b"?" in data and sum(_effort(statement, variables=version == VERSIONS[0]) for statement in statements) > MAX_EFFORT:
        raise MalformedPolicy(
            f"Patterns with ? between other characters, behind a * or beside a variable, have {MAX_EFFORT} characters at most."
        )
    return Policy(
        str(version), identifier, statements, data.decode(),
        reads_tags=any(mentioned(statement.conditions, EXISTING_TAG) for statement in statements),
        is_public=any(_is_public(statement) for statement in statements),
    )  # fmt: skip


def _effort(statement: Statement, *, variables: bool) -> int:
    """What the patterns of a statement may cost a request, see glob.py.  Those of actions are held against each action once."""
    resources = () if statement.resources is None else statement.resources.texts
    matched = [value for condition in statement.conditions if condition.has_patterns for value in condition.values]
    return sum(effort(text, variables=variables) for text in (*resources, *matched))


def _load(data: bytes) -> dict[str, object]:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedPolicy("This policy contains invalid Json") from None
    if not text.lstrip().startswith("{"):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(document, ensure_ascii=False).encode()  # halves of characters, which no answer could repeat, are ValueErrors
    except (ValueError, RecursionError):
        raise MalformedPolicy("This policy contains invalid Json") from None
    assert isinstance(document, dict)
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):  # two readers of such a document could read two policies
        raise ValueError("a name is repeated")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _is_public(statement: Statement) -> bool:
    principals = statement.principals
    if statement.effect is not Effect.ALLOW or principals is None or not (principals.everybody or principals.inverted):
        return False
    return not any(is_closed(condition) for condition in statement.conditions)


class _Parser:
    """Reads the statements of one document."""

    def __init__(self, kind: Kind, bucket: str, *, variables: bool) -> None:
        self._kind = kind
        self._bucket = bucket
        self._variables = variables
        self._known: dict[tuple[object, ...], _Names] = {}  # statements that name the same have the very same object

    def statement(self, item: object) -> Statement:
        if not isinstance(item, dict):
            raise MalformedPolicy("Invalid policy syntax: a statement must be an object.")
        for name in item:
            if name not in _ELEMENTS:
                raise MalformedPolicy(f"Unknown field {name}")
        if self._kind is Kind.TRUST and ("Resource" in item or "NotResource" in item):
            raise MalformedPolicy("Has prohibited field Resource")
        sid = item.get("Sid", "")
        if not isinstance(sid, str) or _SID.fullmatch(sid) is None:
            raise MalformedPolicy("Invalid policy syntax: Sid must be a string of at most 256 printable characters.")
        effect = item.get("Effect")
        if effect not in ("Allow", "Deny"):
            raise MalformedPolicy("Missing required field Effect" if effect is None else f"Invalid effect: {effect}")
        found = Effect(effect)
        return Statement(
            sid, found, self._principals(item, found), self._names(item, "Action", self._check_action, fold=True, variables=False),
            None if self._kind is Kind.TRUST else self._names(item, "Resource", self._check_resource, fold=False, variables=self._variables),
            self._conditions(item),
        )  # fmt: skip

    def _names(self, item: dict[str, object], name: str, check: Callable[[str], None], *, fold: bool, variables: bool) -> _Names:
        present = [key for key in (name, f"Not{name}") if key in item]
        if len(present) != 1:
            raise MalformedPolicy(f"Missing required field {name}" if not present else f"A statement has both {name} and Not{name}.")
        texts = _strings(item[present[0]], present[0])
        for text in texts:
            check(text)
        known = (present[0], *texts)
        if known not in self._known:
            try:
                self._known[known] = _Names(texts, inverted=present[0] != name, fold=fold, variables=variables)
            except ValueError as bad:
                raise MalformedPolicy(f"Policy has an invalid {name.lower()}: {bad}") from None
        return self._known[known]

    def _check_action(self, text: str) -> None:
        pattern = _S3_ACTION if self._kind is Kind.BUCKET else _ACTION
        if pattern.fullmatch(text) is None:
            raise MalformedPolicy("Policy has invalid action")

    def _check_resource(self, text: str) -> None:
        if self._kind is Kind.IDENTITY:
            if text != "*" and not text.startswith("arn:") and not text.startswith("*"):
                raise MalformedPolicy(f"Resource {text} must be in ARN format or '*'.")
            return
        head = text.removeprefix(S3_ARN).partition("/")[0]
        if not text.startswith(S3_ARN) or not head or not self._about_bucket(head):
            raise MalformedPolicy("Policy has invalid resource")

    def _about_bucket(self, head: str) -> bool:
        if "${" in head and self._variables:
            return True
        return Glob(head).matches(self._bucket)

    def _conditions(self, item: dict[str, object]) -> tuple[Condition, ...]:
        try:
            conditions = parse_conditions(item.get("Condition", {}), variables=self._variables)
        except BadCondition as bad:
            raise MalformedPolicy(str(bad)) from None
        if self._kind is Kind.BUCKET:
            for condition in conditions:
                key = condition.key
                known = key in _S3_KEYS or (key.startswith(_S3_KEY_FAMILIES) and not key.endswith("/"))
                if not known and not key.startswith("aws:"):
                    raise MalformedPolicy("Policy has an invalid condition key")
        return conditions

    def _principals(self, item: dict[str, object], effect: Effect) -> Principals | None:
        present = [key for key in ("Principal", "NotPrincipal") if key in item]
        if self._kind is Kind.IDENTITY:
            if present:
                raise MalformedPolicy("Policy document should not specify a principal.")
            return None
        if len(present) != 1:
            raise MalformedPolicy("Missing required field Principal" if not present else "A statement has both Principal and NotPrincipal.")
        inverted = present[0] == "NotPrincipal"
        if inverted and effect is Effect.ALLOW:
            raise MalformedPolicy("Allow with NotPrincipal is not allowed.")
        return _parse_principals(item[present[0]], inverted=inverted)


def _strings(value: object, name: str) -> list[str]:
    items = value if isinstance(value, list) else [value]
    found = [item for item in items if isinstance(item, str) and item]
    if len(found) != len(items):
        raise MalformedPolicy(f"Invalid policy syntax: {name} must be a string or a list of strings.")
    if not found:
        raise MalformedPolicy(f"Missing required field {name} cannot be empty!")
    return found


def _parse_principals(value: object, *, inverted: bool) -> Principals:
    everybody = False
    accounts: set[str] = set()
    arns: set[str] = set()
    by_kind: dict[str, set[str]] = {"CanonicalUser": set(), "Service": set(), "Federated": set()}
    if value == "*":
        everybody = True
    elif isinstance(value, dict) and value:
        for kind, names in value.items():
            texts = _strings(names, "Principal")
            if kind == "AWS":
                for text in texts:
                    everybody = everybody or text == "*"
                    account, arn = _identity(text)
                    accounts.add(account)
                    arns.add(arn)
            elif kind in by_kind:
                by_kind[kind].update(_checked(texts, kind))
            else:
                raise MalformedPolicy("Invalid principal in policy")
    else:
        raise MalformedPolicy("Invalid principal in policy")
    return Principals(
        everybody, frozenset(accounts - {""}), frozenset(arns - {""}), frozenset(by_kind["CanonicalUser"]),
        frozenset(by_kind["Service"]), frozenset(by_kind["Federated"]), inverted,
    )  # fmt: skip


def _checked(texts: Iterable[str], kind: str) -> Iterable[str]:
    for text in texts:
        if kind == "CanonicalUser" and _CANONICAL.fullmatch(text) is None:
            raise MalformedPolicy("Invalid principal in policy")
    return texts


def _identity(text: str) -> tuple[str, str]:
    """(account, ARN) that an AWS principal names, one of them empty; both are for `*`."""
    if text == "*":
        return "", ""
    match = _IDENTITY_ARN.fullmatch(text)
    if match is None:
        if _ACCOUNT.fullmatch(text) is None:
            raise MalformedPolicy("Invalid principal in policy")
        return text, ""
    service, account, rest = match.groups()
    if rest == "root":
        return account, ""
    kinds = ("user/", "role/", "group/") if service == "iam" else ("assumed-role/", "federated-user/")
    if not rest.startswith(kinds[:2]) or rest.endswith("/") or "*" in rest:
        raise MalformedPolicy("Invalid principal in policy")
    return "", text
