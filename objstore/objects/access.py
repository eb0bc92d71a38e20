"""Authorisation: who may do what, decided here and nowhere else.

`decide` takes a caller, an action, a bucket and, where it matters, the row of the object, and says yes or no and why.  An
explicit deny in any policy wins.  Within the bucket's account a caller needs an allow of its own policies (a caller without any
stands for the account itself) or of the bucket's policy; from another account both; an anonymous caller the bucket's policy, or a
list.  Where lists are on (object ownership), they say what the account itself may, too.  Besides these allows there are Swift's: the
lists of the container, and the list of its account, which lets users read, write, or do everything in all of it.

Almost every request comes from the bucket's own account, with nothing set on the bucket: `StoreContext.open_bucket` sees that
by two attributes and does not come here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec

from objstore.core import acl as lists
from objstore.core.account_acl import ADMIN, READ_ONLY, READ_WRITE, AccountAcl, covers, level_of
from objstore.core.acl import Acl, Ownership, Permission, PublicAccessBlock, Seeker
from objstore.core.container import decode_container
from objstore.core.container_acl import ContainerAcl, lets_referrer, lets_user, parse_acl
from objstore.core.policy import NOTHING, S3_ARN, Ask, Caller, Effect, Finding, Kind, Naming, Policy, label, parse_policy
from objstore.core.rows import Row
from objstore.errors import AccessDenied, AclNotSupported, MalformedPolicy
from objstore.objects.actions import (
    ACP,
    ALSO,
    ALWAYS_THE_OWNERS,
    BY_BUCKET_LIST,
    BY_OBJECT_LIST,
    BY_READ_LIST,
    BY_WRITE_LIST,
    LISTS,
    ON_OBJECT,
    ON_ROW,
    READ_BY_LEVEL,
    WRITE_BY_LEVEL,
    Action,
)
from objstore.objects.api import BucketInfo, Principal
from objstore.objects.asked import Asked, arns_of
from objstore.objects.kept import Kept

__all__ = [
    "IS_SERVICE", "MISSING", "OWNERS_ALONE", "Action", "Decision", "Found", "Gate", "Question", "authorize", "block_of", "caller_of", "check_home",
    "check_list", "check_may_list", "check_policy", "decide", "denied", "gate_of", "level_in", "may_know", "needs_row", "owner_of_new",
    "ownership_of", "owns_home", "policy_of", "resource_of",
]  # fmt: skip

# Facts: what else a caller's account and user go by in containers' lists.
PROJECT_NAME, USER_ID, USER_NAME = "openstack:project_name", "openstack:user_id", "openstack:user_name"
IS_SERVICE = "openstack:service"  # "true": a service, which may vouch for its users' requests
MISSING: Literal["missing"] = "missing"
Found = Row | Literal["missing"] | None
"""The object that is asked for: its row, that there is none, or that nobody has looked."""


@dataclass(frozen=True, slots=True)
class ContainerLists:
    """A container's lists, parsed."""

    read: ContainerAcl
    write: ContainerAcl


@dataclass(frozen=True, slots=True)
class Gate:
    """What stands before a bucket: its policy, its list, whose its objects are, what overrules the two."""

    policy: Policy | None
    acl: Acl
    ownership: Ownership
    block: PublicAccessBlock
    container: ContainerLists | None = None  # Swift's; None: there are none

    @property
    def has_lists(self) -> bool:
        """Whether access control lists count here."""
        return self.ownership is not Ownership.ENFORCED


class Decision(msgspec.Struct, frozen=True):
    """The answer, and why: for whom it is about, never for strangers."""

    allowed: bool
    reason: str
    forbidden: bool = False  # some policy denies it, or does not reach so far: no other may allow it


class Question(msgspec.Struct, frozen=True):
    """What `decide` is asked.  `key` is empty for the bucket itself."""

    action: Action
    key: str = ""
    version_id: str = ""
    found: Found = None
    tags: Mapping[str, str] | None = None  # that are about to be written
    given: Mapping[str, Sequence[str]] | None = None  # values of condition keys that the operation knows
    prefix: str | None = None


_DENIES_ALL = b'{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::*"}}'


_policies: Kept[tuple[bytes, str], Policy] = Kept(2048)


def policy_of(data: bytes, bucket: str) -> Policy:
    """The policy kept with a bucket."""
    found = _policies.get((data, bucket))
    if found is None:
        try:
            found = parse_policy(data, Kind.BUCKET, bucket=bucket)
        except MalformedPolicy:
            # Kept by a version that understood it.  Whatever it says, nobody but the account, to mend it, goes by it.
            found = parse_policy(_DENIES_ALL, Kind.BUCKET, bucket=bucket)
        _policies.put((data, bucket), found, len(data))
    return found


@lru_cache(2048)
def _container_of(data: bytes) -> ContainerLists | None:
    container = decode_container(data)
    return ContainerLists(parse_acl(container.read), parse_acl(container.write)) if container.read or container.write else None


_acl_of = lru_cache(2048)(lists.decode_acl)
_block_of = lru_cache(64)(lists.decode_block)


def ownership_of(config: Mapping[str, bytes]) -> Ownership:
    """A bucket's object ownership; of one that does not say, as on Amazon, the writer's."""
    data = config.get("ownershipControls")
    return Ownership.WRITER if data is None else Ownership(data.decode())


def block_of(config: Mapping[str, bytes]) -> PublicAccessBlock:
    """A bucket's public access block."""
    data = config.get("publicAccessBlock")
    return lists.NO_BLOCK if data is None else _block_of(data)


def gate_of(name: str, config: Mapping[str, bytes]) -> Gate | None:
    """What stands before a bucket; None when its account alone may do everything."""
    policy = config.get("policy")
    ownership = ownership_of(config)
    lists = _container_of(config["container"]) if "container" in config else None
    if policy is None and ownership is Ownership.ENFORCED and lists is None:
        return None
    return Gate(None if policy is None else policy_of(policy, name), _acl_of(config.get("acl", b"")), ownership, block_of(config), lists)


def needs_row(who: Principal, gate: Gate | None, action: Action) -> bool:
    """Whether the answer depends on the object that is there."""
    if action not in ON_ROW:
        return False
    if gate is not None and ((gate.has_lists and action in BY_OBJECT_LIST) or (gate.policy is not None and gate.policy.reads_tags)):
        return True
    if who.plain or who.anonymous:
        return False
    derived = who.derived
    if derived.reads_tags is None:
        own = (*(who.policies or ()), *(who.session_policies or ()), *(() if who.boundary is None else (who.boundary,)))
        derived.reads_tags = any(policy.reads_tags for policy in own)
    return derived.reads_tags


def resource_of(bucket: str, key: str) -> str:
    """The ARN of a bucket, or of an object."""
    return f"{S3_ARN}{bucket}/{key}" if key else S3_ARN + bucket


def authorize(who: Principal, action: Action, bucket: str = "*", given: Mapping[str, Sequence[str]] | None = None) -> None:
    """Let `who` go on with what needs no bucket: making one (and configuring it thereby), listing the own ones.  Raises AccessDenied."""
    assert action not in ON_OBJECT
    if who.anonymous or not who.account:
        raise AccessDenied("an anonymous caller has no buckets", hint="Sign the request.")
    if who.plain:
        return
    ask = Ask(caller_of(who), action, resource_of(bucket, ""), Asked(who, None, given=given))
    found = _own_findings(who, ask)
    allowed = _own_allows(who, found) or (_level_allows(who, who.home, action))
    refusal = _own_refusal(who, ask, found) or (None if allowed else _NO_OWN_ALLOW)
    if refusal is not None:
        raise denied(who, action, ask.resource, refusal, own=True)


def decide(who: Principal, bucket: BucketInfo, gate: Gate | None, question: Question) -> Decision:
    """Whether the caller may.  Pure but for the parsing of documents, which is kept."""
    if who.plain and who.admin and not _is_own(who, bucket):
        # In the own account an administrator is who the account is, and bound by what it set.
        return Decision(allowed=True, reason="an administrator may do everything in others' buckets")
    decision = _decide_one(who, bucket, gate, question)
    also = ALSO.get(question.action)
    if decision.allowed and also is not None:
        return _decide_one(who, bucket, gate, _replaced(question, also))
    return decision


def _replaced(question: Question, action: Action) -> Question:
    return Question(action, question.key, question.version_id, question.found, question.tags, question.given, question.prefix)


def _decide_one(who: Principal, bucket: BucketInfo, gate: Gate | None, question: Question) -> Decision:
    action = question.action
    row = question.found if isinstance(question.found, Row) else None
    lookup = Asked(who, bucket, version_id=question.version_id, row=row, tags=question.tags, given=question.given, prefix=question.prefix)
    ask = Ask(caller_of(who), action, resource_of(bucket.name, question.key), lookup)
    own = _is_own(who, bucket)
    finding = NOTHING
    if gate is not None and gate.policy is not None:
        finding = gate.policy.evaluate(ask)
        if finding.effect is Effect.DENY and not (own and _is_account(who) and action in ALWAYS_THE_OWNERS):
            return Decision(allowed=False, reason=f"the bucket policy denies it: {_shown(finding)}", forbidden=True)
        if finding.effect is Effect.ALLOW and not _counts(finding, bucket, gate, row, own=own, restricted=gate.block.restrict):
            finding = NOTHING
    found = _own_findings(who, ask)
    refusal = _own_refusal(who, ask, found)
    if refusal is not None:
        return Decision(allowed=False, reason=refusal, forbidden=True)
    allowed_here = finding.effect is Effect.ALLOW
    if gate is not None and gate.container is not None and _container_allows(who, bucket, gate, action):
        return Decision(allowed=True, reason="the container's access control list allows it")
    if who.levels and _level_allows(who, bucket.account, action, has_bucket=True):
        return Decision(allowed=True, reason="the account's access control list allows it")
    if own:
        if allowed_here and finding.naming is not Naming.ACCOUNT:
            return Decision(allowed=True, reason=f"the bucket policy allows it: {_shown(finding)}")
        return _within_the_account(who, bucket, gate, question, found)
    if not who.anonymous and not _own_allows(who, found):
        return Decision(allowed=False, reason=_NO_OWN_ALLOW)
    if allowed_here:
        return Decision(allowed=True, reason=f"the bucket policy allows it: {_shown(finding)}")
    if gate is not None and gate.has_lists and _listed(who, bucket, gate, question):
        return Decision(allowed=True, reason="an access control list allows it")
    return Decision(allowed=False, reason="neither the bucket policy nor an access control list allows it")


_NO_OWN_ALLOW = "no identity-based policy allows it"
_THE_CALLERS = Decision(allowed=True, reason="the bucket is the caller's")


def check_home(who: Principal, what: str, needed: str = ADMIN) -> None:
    """What only an account itself may do, an administrator, or whom the account's list puts so high, in its home.  Raises AccessDenied."""
    if who.home and who.home != who.account and not (who.plain and who.admin) and not covers(who.levels.get(who.home, ""), needed):
        raise AccessDenied(f"{who.user or who.account} may not {what} of another account", hint="Use your own account's storage URL.")


def check_may_list(who: Principal) -> None:
    """See that the caller may know which containers its home has.  Raises AccessDenied."""
    authorize(who, Action.LIST_BUCKETS)
    check_home(who, "list the containers", READ_ONLY)


def owns_home(who: Principal) -> bool:
    """Whether the caller may see and set what only the owners of its home may: keys, lists."""
    return (who.plain and (who.admin or who.account == (who.home or who.account))) or who.levels.get(who.home) == ADMIN


def level_in(who: Principal, acl: AccountAcl) -> str:
    """What an account's list gives a caller; nobody unknown is in one."""
    return "" if who.anonymous or not who.account or not acl else level_of(acl, *_goes_by(who))


def _goes_by(who: Principal) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (who.account, who.facts.get(PROJECT_NAME, "")), (who.user, who.facts.get(USER_ID, ""), who.facts.get(USER_NAME, ""))


def _level_allows(who: Principal, account: str, action: Action, *, has_bucket: bool = False) -> bool:
    """Whether the account's own list (Swift's) lets the caller in, with a container that is there or without one."""
    level = who.levels.get(account, "")
    if level == READ_WRITE:
        # How a container is guarded says who makes it; later it is not a writer's to change.
        return action in WRITE_BY_LEVEL and not (has_bucket and action in _OF_MAKING)
    return level == ADMIN or (level == READ_ONLY and action in READ_BY_LEVEL)


_OF_MAKING = frozenset((Action.WRITE_OWNERSHIP, Action.WRITE_PUBLIC_ACCESS))


def _container_allows(who: Principal, bucket: BucketInfo, gate: Gate, action: Action) -> bool:
    """Whether the container's own lists (Swift's) let the caller in."""
    container = gate.container
    reads, writes = action in BY_READ_LIST, action in BY_WRITE_LIST
    if container is None or not (reads or writes):
        return False
    named = container.read if reads else container.write
    if not who.anonymous and who.account and lets_user(named, *_goes_by(who), restricted=gate.block.restrict):
        return True
    if not reads or gate.block.restrict or (action in LISTS and not container.read.listings):
        return False
    return lets_referrer(container.read, who.request.header("referer"))


def _within_the_account(who: Principal, bucket: BucketInfo, gate: Gate | None, question: Question, found: Sequence[Finding]) -> Decision:
    """A caller of the bucket's own account, when the bucket's policy says nothing."""
    if not _own_allows(who, found):
        return Decision(allowed=False, reason=_NO_OWN_ALLOW)
    if gate is None or not gate.has_lists:
        return _THE_CALLERS
    # Lists can take from the account itself: what it does not own, and what it has taken from itself.
    if question.action in BY_OBJECT_LIST or question.action in BY_BUCKET_LIST:
        if _listed(who, bucket, gate, question):
            return Decision(allowed=True, reason="the bucket is the caller's, and the access control list allows it")
        return Decision(allowed=False, reason="no access control list allows it")
    return _THE_CALLERS


def _listed(who: Principal, bucket: BucketInfo, gate: Gate, question: Question) -> bool:
    action, ignore = question.action, gate.block.ignore_acls
    is_bucket_owner = _is_own(who, bucket)
    permission = BY_BUCKET_LIST.get(action)
    canonical_id = "" if who.anonymous else who.canonical_id or who.account
    if permission is not None:
        if is_bucket_owner and permission in ACP:
            return True
        return lists.grants(gate.acl, permission, Seeker(canonical_id, is_bucket_owner, is_bucket_owner), ignore_public=ignore)
    permission = BY_OBJECT_LIST.get(action)
    if permission is None:
        return False
    if not isinstance(question.found, Row):
        # Not there: whoever may list is told so, see `may_know`; nobody has looked: not by lists.
        return question.found == MISSING and is_bucket_owner
    row = question.found
    is_owner = bool(who.account) and not who.anonymous and row.owner == who.account
    if is_owner and permission in ACP:
        return True
    return lists.grants(_acl_of(row.acl), permission, Seeker(canonical_id, is_owner, is_bucket_owner), ignore_public=ignore)


def may_know(who: Principal, bucket: BucketInfo, gate: Gate | None, key: str) -> bool:
    """Whether the caller may learn that there is no object of that name: whoever may list the bucket."""
    return decide(who, bucket, gate, Question(Action.READ_BUCKET, prefix=key)).allowed


def _counts(finding: Finding, bucket: BucketInfo, gate: Gate, row: Row | None, *, own: bool, restricted: bool) -> bool:
    """Whether the allow of a bucket's policy counts."""
    assert gate.policy is not None
    if restricted and gate.policy.is_public and not own:
        return False
    # The policy speaks for the bucket's owner, so of others' objects it can only forbid.
    return row is None or not gate.has_lists or row.owner == bucket.account


def owner_of_new(who: Principal, account: str, gate: Gate | None, acl: Acl | None) -> tuple[str, bytes]:
    """Whose a new object in a bucket of `account` is, and the list that is kept with it.  Raises AclNotSupported, AccessDenied."""
    if gate is None or not gate.has_lists:
        if acl is not None and acl not in OWNERS_ALONE:
            raise AclNotSupported
        return account, b""
    wanted = acl or lists.PRIVATE
    check_list(wanted, gate.block)
    if who.anonymous or not who.account:
        return account, lists.encode_acl(wanted)
    if gate.ownership is Ownership.PREFERRED and lists.grants(wanted, Permission.FULL_CONTROL, Seeker("", is_bucket_owner=True)):
        return account, lists.encode_acl(wanted)
    return who.account, lists.encode_acl(wanted)


# Lists that say no more than what holds where lists are off.
OWNERS_ALONE = (lists.PRIVATE, lists.canned_acl(lists.BUCKET_OWNER_FULL_CONTROL))


def check_list(acl: Acl, block: PublicAccessBlock) -> None:
    """Refuse a list that lets everybody in where that is blocked.  Raises AccessDenied."""
    if block.block_acls and lists.is_public(acl):
        raise AccessDenied("the bucket's public access block refuses public access control lists", hint=_HINT_BLOCKED)


def check_policy(policy: Policy, block: PublicAccessBlock) -> None:
    """Refuse a policy that lets everybody in where that is blocked.  Raises AccessDenied."""
    if block.block_policy and policy.is_public:
        raise AccessDenied("the bucket's public access block refuses public policies", hint=_HINT_BLOCKED)


_HINT_BLOCKED = "The bucket's public access block refuses what would let everybody in; change that first."


def _is_own(who: Principal, bucket: BucketInfo) -> bool:
    return bool(who.account) and not who.anonymous and who.account == bucket.account


def _is_account(who: Principal) -> bool:
    """Whether the caller stands for the account itself, as its root does on AWS."""
    return who.policies is None and who.session_policies is None and who.boundary is None


def caller_of(who: Principal) -> Caller:
    """The caller, as policies of buckets name callers."""
    named = who.derived.named
    if named is None:
        nobody = who.anonymous or not who.account
        named = Caller() if nobody else Caller(who.account, arns_of(who), who.canonical_id, is_account=_is_account(who))
        who.derived.named = named
    return named


def _own_findings(who: Principal, ask: Ask) -> Sequence[Finding]:
    """What each of the caller's own policies says, up to the first that denies."""
    found: list[Finding] = []
    for policy in who.policies or ():
        found.append(policy.evaluate(ask))
        if found[-1].effect is Effect.DENY:
            break
    return found


def _own_refusal(who: Principal, ask: Ask, found: Sequence[Finding]) -> str | None:
    """What the caller's own policies say against it, or do not say where they would have to."""
    for finding in found:
        if finding.effect is Effect.DENY:
            return f"an identity-based policy denies it: {_shown(finding)}"
    if who.boundary is not None and who.boundary.evaluate(ask).effect is not Effect.ALLOW:
        return "the permissions boundary does not allow it"
    if who.session_policies is not None:
        effects = [policy.evaluate(ask).effect for policy in who.session_policies]
        if Effect.DENY in effects or Effect.ALLOW not in effects:
            return "the session policy does not allow it"
    return None


def _own_allows(who: Principal, found: Sequence[Finding]) -> bool:
    return who.policies is None or any(finding.effect is Effect.ALLOW for finding in found)


def _shown(finding: Finding) -> str:
    assert finding.statement is not None
    return label(finding.statement, finding.number)


def denied(who: Principal, action: Action, resource: str, reason: str, *, own: bool) -> AccessDenied:
    """The refusal.  Its hint tells those of the bucket's account why, others what to do."""
    if who.anonymous:
        hint = "Sign the request: nobody is allowed this here without a signature."
    elif own:
        name = (arns_of(who) or ("",))[0]
        hint = f"User: {name} is not authorized to perform: {action.value} on resource: {resource} because {reason}."
    else:
        hint = f"Ask the bucket's owner to allow your account {action.value}, by its policy."
    return AccessDenied(f"{who.user or who.account or 'an anonymous caller'} may not {action.value} {resource}: {reason}", hint=hint)
