"""All identities, held in memory: those of the identities file, and the store's records kept up with within a second.

What changes a record appends its name to a journal, one small record that every proxy reads twice a second: only what the
journal names is read again, everything when it has grown too far meanwhile, and once a minute in any case, since whoever writes may die between
record and journal.  Looking a key up is one look into one table; principals are put together when they are first asked for and forgotten
with every change.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core.policy import Kind, Policy, parse_policy
from objstore.errors import MalformedPolicy, ObjstoreError
from objstore.identity.entities import AWS_POLICY, RECORD_VERSION, ROLE, USER, Holder, HolderKey, ManagedPolicy, WebProvider, key_of
from objstore.identity.logic import Credentials, completed
from objstore.identity.managed import BUILT_IN, EVERYTHING, NOTHING
from objstore.identity.model import Keyholder, User
from objstore.identity.registry import Registry
from objstore.identity.rules import S3_FULL, S3_NONE, S3_READ, Access, s3_rights
from objstore.identity.tenancy import Project, person_id
from objstore.identity.tokens import Session, TokenSealer
from objstore.objects.api import Principal
from objstore.objects.kept import Kept
from objstore.records.store import Records, Version
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

JOURNAL = "head"
JOURNAL_NAMES = 128  # a proxy that missed more changes reads everything again
POLL_S = 0.5
RELOAD_S = 60.0
REFRESH_WAIT_S = 1.0  # longer no unknown key may hold its request up
REFRESH_S = 0.05  # an unknown key makes a proxy look at once, but not more often than this
_MADE = re.compile("[0-9a-f]{32}")  # ids of projects that were made, as against those of the identities file
POLICIES_KEPT = 8192
SESSIONS_KEPT = 4096


class Journal(msgspec.Struct, frozen=True, array_like=True):
    """How often anything was changed, and what the last changes were, newest last."""

    record_version: int
    count: int
    recent: tuple[str, ...] = ()


class Shelf(msgspec.Struct):
    """Records of one kind, and what is held of them."""

    records: Records[msgspec.Struct]
    held: dict[str, msgspec.Struct]
    versions: dict[str, Version]  # of what is held


class Directory(Credentials):
    """Credentials that change.  Only `identity/changes.py` writes what it holds."""

    def __init__(
        self,
        users: Iterable[User],
        cluster: ClusterApi,
        world: World,
        sealer: TokenSealer,
        providers: Iterable[WebProvider] = (),
        registry: Registry | None = None,
    ) -> None:
        self.clock = world.clock
        self.rng = world.rng
        self.sealer = sealer
        self._registry = registry  # whose users have keys for projects
        self._fixed: dict[str, User] = {}  # by access key
        self._fixed_names: dict[str, User] = {}  # by record name
        super().__init__(users)
        self.fixed_providers = {provider.arn: provider for provider in providers}
        self.holders: Mapping[str, Holder] = {}
        self.policies: Mapping[str, ManagedPolicy] = {}
        self.providers: Mapping[str, WebProvider] = {}
        self.shelves = {
            name: Shelf(Records(cluster, f"iam-{name}", kind), {}, {})
            for name, kind in (("holder", Holder), ("policy", ManagedPolicy), ("provider", WebProvider))
        }
        self._journal = Records(cluster, "iam-journal", Journal)
        self._count = -1
        self._keys: dict[str, str] = {}  # access key -> record name of its user
        self._by_id: dict[str, Holder] = {}
        self._parsed: Kept[str, Policy] = Kept(POLICIES_KEPT)
        self._sessions: OrderedDict[str, tuple[Session, Principal] | None] = OrderedDict()
        self._loaded_at = -RELOAD_S
        self._looked_at = -REFRESH_S
        self._next_look: asyncio.Task[None] | None = None  # one that has not begun
        self._tasks = TaskOwner("identities")
        self._failing = False
        self._turn = asyncio.Lock()  # one reader at a time: an older answer must not overtake a newer one
        self._index()
        if registry is not None:
            registry.on_change.append(self._forget)

    def add(self, user: User) -> None:
        """Add a user of the identities file."""
        super().add(user)
        self._fixed[user.access_key] = completed(user)
        self._fixed_names.setdefault(HolderKey(USER, user.account, user.name).record, completed(user))

    # -- keeping up -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to keep up.  What is there is read in the background until it could be read once: a cluster may not be up yet."""
        if self._registry is not None:
            await self._registry.start()
        self._tasks.spawn(self._keep_up(), name="identities")

    async def aclose(self) -> None:
        """Stop keeping up."""
        await self._tasks.aclose()
        if self._registry is not None:
            await self._registry.aclose()

    async def _keep_up(self) -> None:
        while True:
            await self._quietly(self._look())
            await self.clock.sleep(POLL_S)

    async def refresh(self) -> None:
        """See everything that was acknowledged before this call, with one look for all who wait, and never two within REFRESH_S.

        Nothing is raised: what is known stays.
        """
        if self._registry is not None:
            await asyncio.wait([self._tasks.spawn(self._registry.feed.refresh(), name="look at projects")], timeout=REFRESH_WAIT_S)
        if self._next_look is None:
            self._next_look = self._tasks.spawn(self._look_soon(), name="look")
        await asyncio.wait([self._next_look], timeout=REFRESH_WAIT_S)

    async def _look_soon(self) -> None:
        await self.clock.sleep(max(0.0, self._looked_at + REFRESH_S - self.clock.monotonic()))
        async with self._turn:
            self._next_look = None  # this one may miss what is acknowledged from now on: whoever asks now waits for another
            await self._quietly(self._look_in_turn())

    async def _quietly(self, look: Awaitable[None]) -> None:
        try:
            await look
        except Exception as failure:  # whatever it was: without these looks what is revoked stays good here
            if not self._failing:  # said once, not twice a second
                expected = isinstance(failure, ObjstoreError)
                log.warning("identities cannot be read, those known stay: %r", failure, exc_info=None if expected else failure)
            self._failing = True
            return
        if self._failing:
            log.warning("identities can be read again")
        self._failing = False

    async def catch_up(self) -> None:
        """See everything that was acknowledged before.  Raises Unavailable."""
        await self._look()

    async def _look(self) -> None:
        async with self._turn:
            await self._look_in_turn()

    async def _look_in_turn(self) -> None:
        self._looked_at = self.clock.monotonic()
        entry = await self._journal.get(JOURNAL)
        journal = entry.value if entry is not None else Journal(RECORD_VERSION, 0)
        missed = journal.count - self._count
        if missed == 0 and self.clock.monotonic() - self._loaded_at < RELOAD_S:
            return
        if self._count < 0 or not 0 <= missed <= len(journal.recent) or self.clock.monotonic() - self._loaded_at >= RELOAD_S:
            for shelf in self.shelves.values():
                listed = await shelf.records.list()
                shelf.held, shelf.versions = {found.name: found.value for found in listed}, {found.name: found.version for found in listed}
            self._loaded_at = self.clock.monotonic()
        else:
            for name in set(journal.recent[len(journal.recent) - missed :]):
                await self._read(name)
        self._count = max(self._count, journal.count)
        self._index()

    async def _read(self, name: str) -> None:
        shelf_name, _, record = name.partition(":")
        shelf = self.shelves[shelf_name]
        found = await shelf.records.get(record)
        if found is None:
            shelf.held.pop(record, None)
        else:
            shelf.held[record], shelf.versions[record] = found.value, found.version

    async def changed(self, shelf: str, record: str) -> None:
        """Called after a record was written and before that is acknowledged: tell all proxies, this one at once."""
        name = f"{shelf}:{record}"

        def noted(journal: Journal) -> Journal:
            return Journal(RECORD_VERSION, journal.count + 1, (*journal.recent, name)[-JOURNAL_NAMES:])

        await self._journal.change(JOURNAL, noted, Journal(RECORD_VERSION, 0))
        async with self._turn:
            await self._read(name)
            self._index()

    def _index(self) -> None:
        """Put what is held in order for look-ups; forget what was put together from it."""
        self.holders = self._current_holders()
        stored = [value for value in self.shelves["policy"].held.values() if isinstance(value, ManagedPolicy)]
        self.policies = {**BUILT_IN, **{policy.id: policy for policy in stored}}
        found = [value for value in self.shelves["provider"].held.values() if isinstance(value, WebProvider)]
        self.providers = {**{provider.arn: provider for provider in found}, **self.fixed_providers}
        self._by_id = {holder.id: holder for holder in self.holders.values()}
        self._keys = {key.id: name for name, holder in self.holders.items() for key in holder.keys if key.active}
        self._keyholders.clear()
        self._sessions.clear()

    def _current_holders(self) -> Mapping[str, Holder]:
        """What is held of users, groups and roles; of two records of one, which somebody who died while renaming it left, the newer."""
        shelf = self.shelves["holder"]
        found = {name: value for name, value in shelf.held.items() if isinstance(value, Holder)}
        names: dict[str, str] = {}
        for name, holder in found.items():
            other = names.setdefault(holder.id, name)
            if shelf.versions[other] < shelf.versions[name]:
                names[holder.id] = name
        return found if len(names) == len(found) else {name: found[name] for name in names.values()}

    def is_left_over(self, record: str) -> bool:
        """Whether a record is that of someone who goes by another name."""
        return record in self.shelves["holder"].held and record not in self.holders

    def holder_of(self, id_: str) -> Holder | None:
        """The user, group or role with a unique id."""
        return self._by_id.get(id_)

    def set_provider_keys(self, arn: str, keys: str) -> None:
        """Other keys of a provider of the identities file, which were fetched."""
        self.fixed_providers[arn] = msgspec.structs.replace(self.fixed_providers[arn], keys=keys)
        self.providers = {**self.providers, arn: self.fixed_providers[arn]}

    # -- looking up -------------------------------------------------------------------------------------------

    def lookup(self, access_key: str) -> tuple[str, Principal] | None:
        """Secret and principal behind an access key."""
        holder = self._keyholders.get(access_key)
        if holder is None:
            holder = self._keyholder(access_key)
            if holder is None:
                return self._project_key(access_key)
            self._keyholders[access_key] = holder
        return holder.secret_key, holder.principal

    def _forget(self) -> None:
        self._keyholders.clear()
        self._sessions.clear()

    def _is_open(self, account: str, user: User | None = None) -> bool:
        """Whether an account may be used, by its users, roles and sessions alike: not when its project, or that one's domain, is
        disabled or gone; and a user of the identities file only while it is not disabled as a user of the identity service.

        The cluster's administrators look at themselves alone: who manages their project's domain must not shut them out."""
        registry = self._registry
        if registry is None:
            return True
        person = registry.person(person_id(user)) if user is not None else None
        if person is not None and not registry.is_usable(person):
            return False
        project = registry.get(Project, account)
        if project is None:
            return _MADE.fullmatch(account) is None  # what has no project and never had one is nobody's to close
        return registry.is_usable(project) or (user is not None and user.admin)

    def _keyholder(self, access_key: str) -> Keyholder | None:
        user = self._fixed.get(access_key)
        if user is not None:
            return Keyholder(user.secret_key, self._principal_of_fixed(user)) if self._is_open(user.account, user) else None
        record = self._keys.get(access_key)
        if record is None:
            return None
        holder = self.holders[record]
        secret = next(key.secret for key in holder.keys if key.id == access_key)
        fixed = self._fixed_names.get(record)
        if not self._is_open(holder.account, fixed):
            return None
        return Keyholder(secret, self._principal_of_fixed(fixed) if fixed is not None else self._principal_of(holder))

    def _project_key(self, access_key: str) -> tuple[str, Principal] | None:
        """A key of a user on a project: what its roles there are worth now."""
        registry = self._registry
        credential = registry.key(access_key) if registry is not None else None
        if registry is None or credential is None:
            return None
        access = registry.key_access(credential)
        secret = registry.secret_of(credential)
        principal = self._principal_of_access(access) if access is not None else None
        if access is None or principal is None or not secret:
            return None
        if access.app_credential is None or not access.app_credential.expires_us:  # what ends by itself is looked at each time
            self._keyholders[access_key] = Keyholder(secret, principal)
        return secret, principal

    def _principal_of_access(self, access: Access) -> Principal | None:
        """Who acts on a project with these roles; None when they are worth nothing there."""
        rights = s3_rights(access.names)
        if access.project is None or rights == S3_NONE:
            return None
        account = access.project.id
        text = BUILT_IN[AWS_POLICY + ("AmazonS3ReadOnlyAccess" if rights == S3_READ else "AmazonS3FullAccess")].document
        owner = self.owner_of(account)
        arn = f"arn:aws:iam::{account}:user/keystone/{access.user.id}"
        facts = {"aws:userid": access.user.id, "aws:principalarn": arn, "aws:principaltype": "User"} | _LASTING
        worth = (self.parsed(text),)
        # An application credential goes by its user's name, so that its roles are a limit: nothing that names the user goes beyond
        # them, least of all IAM and STS, where keys and sessions could be made that outlive it.
        return Principal(
            account=account, user=f"keystone/{access.user.id}", display_name=owner.display_name, canonical_id=owner.canonical_id,
            tenant=self.tenant_of(account), arn=arn, policies=worth if rights != S3_FULL else None,
            session_policies=worth if access.app_credential is not None else None, facts=facts,
        )  # fmt: skip

    def user(self, account: str, name: str) -> Holder | None:
        """A user, of the store or of the identities file."""
        record = HolderKey(USER, account, name).record
        found = self.holders.get(record)
        if found is not None:
            return found
        user = self._fixed_names.get(record)
        return None if user is None else fixed_holder(user)

    def arn_of(self, holder: Holder) -> str:
        """The Amazon resource name that a user, group or role goes by."""
        user = self._fixed_names.get(key_of(holder).record) if holder.fixed else None
        return holder.arn if user is None else user.arn

    def users(self, account: str) -> list[Holder]:
        """All users of an account."""
        fixed = [fixed_holder(user) for record, user in self._fixed_names.items() if user.account == account and record not in self.holders]
        return fixed + [holder for holder in self.holders.values() if holder.kind == USER and holder.account == account]

    def of_kind(self, kind: str, account: str) -> list[Holder]:
        """All groups, or all roles, of an account."""
        return [holder for holder in self.holders.values() if holder.kind == kind and holder.account == account]

    def fixed_keys(self, record: str) -> list[str]:
        """The access keys that the identities file gives to a user."""
        return [key for key, user in self._fixed.items() if HolderKey(USER, user.account, user.name).record == record]

    def fixed_user(self, record: str) -> User | None:
        """The user of the identities file of that record name."""
        return self._fixed_names.get(record)

    def fixed_user_named(self, name: str) -> User | None:
        """The only user of that name in any account of the identities file."""
        found = [user for user in self._fixed_names.values() if user.name.lower() == name.lower()]
        return found[0] if len(found) == 1 else None

    def group_by_id(self, group_id: str) -> Holder | None:
        """The group of that id, if it is still there."""
        return self._by_id.get(group_id)

    def policy_by_arn(self, arn: str, account: str) -> ManagedPolicy | None:
        """A managed policy of an account, or a built-in one."""
        for policy in self.policies.values():
            if policy.arn == arn and policy.account in (account, "aws"):
                return policy
        return None

    def tenant_of(self, account: str) -> str:
        """The space of bucket names that an account's buckets lie in."""
        return next((user.tenant for user in self._fixed.values() if user.account == account), "default")

    # -- principals -------------------------------------------------------------------------------------------

    def parsed(self, text: str) -> Policy:
        """A policy of an identity, parsed once.  Raises MalformedPolicy."""
        policy = self._parsed.get(text)
        if policy is None:
            policy = parse_policy(text.encode(), Kind.IDENTITY)
            self._parsed.put(text, policy, len(text))
        return policy

    def _documents(self, holder: Holder) -> list[str]:
        """Every policy that a holder has, its groups' too."""
        found = list(holder.inline.values())
        found += [policy.document for policy in map(self.policies.get, holder.attached) if policy is not None]
        for group in map(self._by_id.get, holder.groups):
            if group is not None:
                found += self._documents(group)
        return found

    def policies_of(self, holder: Holder) -> tuple[Policy, ...]:
        """The same, parsed.  What cannot be parsed (another version wrote it) allows nothing, and takes all else away too."""
        try:
            return tuple(self.parsed(text) for text in self._documents(holder))
        except MalformedPolicy:
            log.exception("a policy of %s cannot be read; it has no rights", holder.arn)
            return ()

    def _boundary(self, holder: Holder) -> Policy | None:
        if not holder.boundary:
            return None
        policy = self.policies.get(holder.boundary)
        return self.parsed(NOTHING if policy is None else policy.document)

    def _principal_of(self, holder: Holder) -> Principal:
        owner = self.owner_of(holder.account)
        facts = {
            "aws:username": holder.name,
            "aws:userid": holder.id,
            "aws:principalarn": holder.arn,
            "aws:principaltype": "User",
        } | _LASTING
        return Principal(
            account=holder.account, user=holder.name, display_name=owner.display_name, canonical_id=owner.canonical_id,
            tenant=self.tenant_of(holder.account), arn=holder.arn, policies=self.policies_of(holder), boundary=self._boundary(holder),
            facts=facts | tag_facts(holder.tags),
        )  # fmt: skip

    def _principal_of_fixed(self, user: User) -> Principal:
        """A user of the file may do all that its account may, and is bound by denials that were put on it."""
        holder = self.holders.get(HolderKey(USER, user.account, user.name).record)
        policies = self.policies_of(holder) if holder is not None else ()
        facts = {
            "aws:username": user.name,
            "aws:userid": user.canonical_id,
            "aws:principalarn": user.arn,
            "aws:principaltype": "User",
        } | _LASTING
        return Principal(
            account=user.account, user=user.name, display_name=user.display_name, canonical_id=user.canonical_id, tenant=user.tenant,
            admin=user.admin, arn=user.arn, policies=(self.parsed(EVERYTHING), *policies) if policies else None,
            boundary=self._boundary(holder) if holder is not None else None, facts=facts | tag_facts(holder.tags if holder is not None else {}),
        )  # fmt: skip

    # -- sessions ---------------------------------------------------------------------------------------------

    def session(self, token: str) -> tuple[Session, Principal] | None:
        """The session behind a token and who it stands for, expired or not; None when there is none, or its owner is gone."""
        if token in self._sessions:
            self._sessions.move_to_end(token)
            return self._sessions[token]
        session = self.sealer.open(token)
        if session is None:
            return None  # not remembered: strangers must not push out what is in use
        principal = self._principal_of_session(session)
        found = None if principal is None else (session, principal)
        self._sessions[token] = found
        if len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        return found

    def _principal_of_session(self, session: Session) -> Principal | None:
        kind, _, name = session.subject.partition("/")
        limits = None if session.policies is None else tuple(self.parsed(text) for text in session.policies)
        if kind == USER:
            return self._principal_of_user_session(session, name, limits)
        holder = self.holders.get(HolderKey(ROLE, session.account, name).record)
        if holder is None or holder.id != session.subject_id or not self._is_open(session.account):
            return None
        owner = self.owner_of(session.account)
        facts = _facts_of(session) | {
            "aws:userid": f"{holder.id}:{session.name}",
            "aws:principalarn": holder.arn,
            "aws:principaltype": "AssumedRole",
        }
        return Principal(
            account=session.account, user=f"{holder.name}/{session.name}", display_name=owner.display_name, canonical_id=owner.canonical_id,
            tenant=self.tenant_of(session.account), arn=f"arn:aws:sts::{session.account}:assumed-role/{holder.name}/{session.name}",
            policies=self.policies_of(holder), session_policies=limits, boundary=self._boundary(holder),
            facts={**tag_facts(holder.tags), **session.facts, **facts},
        )  # fmt: skip

    def _principal_of_user_session(self, session: Session, name: str, limits: tuple[Policy, ...] | None) -> Principal | None:
        fixed = self._fixed_names.get(HolderKey(USER, session.account, name).record)
        holder = self.user(session.account, name)
        if holder is None or holder.id != session.subject_id or not self._is_open(session.account, fixed):
            return None
        base = self._principal_of_fixed(fixed) if fixed is not None else self._principal_of(holder)
        return replace(base, session_policies=limits, facts={**base.facts, **_facts_of(session)})


# Whether STS gave out the credentials, as Ceph's gateway tells policies.
_LASTING = {"sts:authentication": "false"}


def _facts_of(session: Session) -> dict[str, str]:
    """What policies may ask of any temporary credentials; by the time of issue older ones are revoked."""
    issued = datetime.fromtimestamp(session.issued_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"sts:authentication": "true", "aws:tokenissuetime": issued}


def tag_facts(tags: Mapping[str, str], prefix: str = "aws:principaltag/") -> dict[str, str]:
    """Tags as conditions of policies ask for them."""
    return {f"{prefix}{name.lower()}": value for name, value in tags.items()}


def fixed_holder(user: User) -> Holder:
    """A user of the identities file as a record would have it."""
    return Holder(RECORD_VERSION, USER, user.account, user.name, fixed_id(user), 0, fixed=True)


def fixed_id(user: User) -> str:
    """The unique id of a user of the identities file: always the same."""
    return "AIDA" + sha256(f"{user.account}/{user.name}".encode()).hexdigest()[:17].upper()
