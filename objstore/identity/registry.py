"""Everything the identity service knows, in memory: tables by id, names, who has which role where; and every change of it.

Look-ups are look-ups in dictionaries.  Keys of S3 that belong to a user and a project are answered from here too
(identity/directory.py asks), and tokens are judged here, on every process alike.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.errors import ConditionalConflict, DamagedBody, ObjstoreError, PreconditionFailed
from objstore.identity.bearer import Bearer, BearerSealer, SecretBox
from objstore.identity.feed import Change, Feed
from objstore.identity.rules import Access, expanded
from objstore.identity.tenancy import (
    KINDS,
    RECORD_VERSION,
    SYSTEM,
    TOTP,
    UNBOUND,
    AppCredential,
    Credential,
    Domain,
    Grant,
    Group,
    Kept,
    Person,
    Project,
    Revocation,
    Role,
    TokenKeys,
    Trust,
    grant_record,
)
from objstore.identity.token_keys import BUILT_IN, KeySet, rotated
from objstore.identity.trusts import lent_roles, trust_line
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

T = TypeVar("T", bound=Kept)
log = logging.getLogger(__name__)

MAX_DEPTH = 32  # of projects below one another, so that no damaged record makes a walk endless
JUDGED_KEPT = 8192
SWEEP_S = 600.0
MAX_MARKS = 10_000  # of one user's tokens that were made void one by one: every process holds them, for days
MOVE_ATTEMPTS = 8  # each has a success of others before it
_PREFIX = "ks"
_TOKEN_KEYS = "tokens"  # the one record


class Registry:
    """The tables of one process."""

    def __init__(self, cluster: ClusterApi, world: World, cluster_key: bytes, below: Iterable[Kept] = ()) -> None:
        self.clock = world.clock
        self.rng = world.rng
        self.bearers = BearerSealer(cluster_key, world.rng)
        self.secrets = SecretBox(cluster_key, world.rng)
        self.on_change: list[Callable[[], None]] = []
        self._ids: dict[str, dict[str, Kept]] = {kind: {} for kind in KINDS}
        self._records: dict[str, dict[str, Kept]] = {kind: {} for kind in KINDS}
        self._grants: dict[str, dict[str, Grant]] = {}  # actor -> target -> grant
        self._access: dict[str, str] = {}  # access key -> id of its credential
        self._totp: dict[str, set[str]] = {}  # user -> ids of its credentials of type "totp"
        self._owned: dict[tuple[type[Kept], str], dict[str, Kept]] = {}  # by whose it is
        self._judged: OrderedDict[str, Access] = OrderedDict()
        self._tasks = TaskOwner("identity registry")
        self.feed = Feed(cluster, world.clock, KINDS, self._apply, prefix=_PREFIX)
        kinds = {struct: kind for kind, struct in KINDS.items()}
        self.feed.lay_below((kinds[type(value)], value) for value in below)

    async def start(self, *, sweeps: bool = False, token_key_s: float = 0.0, expired_token_s: float = 0.0) -> None:
        """Begin to keep up; whoever `sweeps` also removes what has run out, now and then, and changes the key of tokens at this age.

        `expired_token_s`: how long services may ask about a token that has expired.
        """
        await self.feed.start()
        if sweeps:
            self._tasks.spawn(self._keep_tidy(token_key_s, expired_token_s), name="sweep")

    async def aclose(self) -> None:
        """Stop keeping up."""
        await self._tasks.aclose()
        await self.feed.aclose()

    async def _keep_tidy(self, token_key_s: float, expired_token_s: float) -> None:
        while True:
            await self.clock.sleep(SWEEP_S)
            try:
                await self.sweep(expired_token_s)
                # The first key has no beginning: it is changed at once.
                if token_key_s and self.bearers.keys.age_us(self.clock.wall_us()) > token_key_s * 1e6:
                    await self.rotate_token_keys(age_s=token_key_s)
            except Exception as failure:  # whatever it was: without this loop keys of tokens are not changed any more
                expected = isinstance(failure, ObjstoreError)
                log.warning("what has run out is not swept now: %r", failure, exc_info=None if expected else failure)

    # -- keeping the tables -----------------------------------------------------------------------------------

    def _apply(self, changes: list[Change]) -> None:
        for kind, record, value in changes:
            records, ids = self._records[kind], self._ids[kind]
            before = records.pop(record, None)
            if before is not None and ids.get(before.id) is before:
                del ids[before.id]
                self._unlink(before)
            if value is None:
                continue
            records[record] = value
            known = ids.get(value.id)
            if known is None or known.changes <= value.changes:  # of two names of one id the younger holds
                if known is not None:
                    self._unlink(known)
                ids[value.id] = value
                self._link(value)
            if kind == "token-keys":
                self._use_keys()
        self._judged.clear()
        for tell in self.on_change:
            tell()

    def _link(self, value: Kept) -> None:
        if isinstance(value, Grant):
            self._grants.setdefault(value.actor, {})[value.target] = value
        elif isinstance(value, Credential) and value.access:
            self._access[value.access] = value.id
        elif isinstance(value, Credential) and value.type == TOTP:
            self._totp.setdefault(value.user_id, set()).add(value.id)
        for owner in _owners(value):
            self._owned.setdefault((type(value), owner), {})[value.id] = value

    def _unlink(self, value: Kept) -> None:
        if isinstance(value, Grant):
            self._grants.get(value.actor, {}).pop(value.target, None)
        elif isinstance(value, Credential) and value.access:
            self._access.pop(value.access, None)
        elif isinstance(value, Credential) and value.type == TOTP:
            self._totp.get(value.user_id, set()).discard(value.id)
        for owner in _owners(value):
            owned = self._owned.get((type(value), owner), {})
            owned.pop(value.id, None)
            if not owned:
                self._owned.pop((type(value), owner), None)

    # -- looking up -------------------------------------------------------------------------------------------

    def get(self, struct: type[T], id_: str) -> T | None:
        """Something by its id."""
        found = self._ids[_KIND_OF[struct]].get(id_)
        return cast("T | None", found)

    def person(self, id_: str) -> Person | None:
        """A user by its id."""
        return self.get(Person, id_)

    def totp_of(self, user: Person) -> list[Credential]:
        """A user's secrets of passcodes that change with time."""
        found = (self.get(Credential, id_) for id_ in sorted(self._totp.get(user.id, ())))
        return [credential for credential in found if credential is not None]

    def all(self, struct: type[T]) -> list[T]:
        """All of a kind, by id."""
        table = self._ids[_KIND_OF[struct]]
        return cast("list[T]", [table[id_] for id_ in sorted(table)])

    def owned(self, struct: type[T], owner_id: str) -> list[T]:
        """What a user (also as either party of a trust) or a project has of a kind, by id: nobody else's is looked at."""
        found = self._owned.get((struct, owner_id), {})
        return cast("list[T]", [found[id_] for id_ in sorted(found)])

    def named(self, value: T) -> T | None:
        """What has the name that `value` would have."""
        found = self._records[_KIND_OF[type(value)]].get(value.record)
        return cast("T | None", found if found is not None and self._ids[_KIND_OF[type(value)]].get(found.id) is found else None)

    def domain_named(self, name: str) -> Domain | None:
        """A domain by its name."""
        return self.named(Domain(RECORD_VERSION, "", name))

    def project_named(self, name: str, domain_id: str) -> Project | None:
        """A project by its name."""
        return self.named(Project(RECORD_VERSION, "", name, domain_id))

    def user_named(self, name: str, domain_id: str) -> Person | None:
        """A user by name."""
        return self.named(Person(RECORD_VERSION, "", name, domain_id))

    def role_named(self, name: str) -> Role | None:
        """A role of all domains by its name."""
        return self.named(Role(RECORD_VERSION, "", name))

    def grant(self, actor: str, target: str) -> Grant | None:
        """What an actor has on a target, directly."""
        return self._grants.get(actor, {}).get(target)

    def grants(self, actors: Iterable[str] | None = None) -> list[Grant]:
        """All of them, or those of some actors, whose actor and target are there."""
        if actors is None:
            found = self.all(Grant)
        else:
            found = [grants[target] for grants in (self._grants.get(actor, {}) for actor in actors) for target in sorted(grants)]
        return [grant for grant in found if self._holds(grant)]

    def _holds(self, grant: Grant) -> bool:
        kind, _, actor = grant.actor.partition(":")
        where, _, target = grant.target.partition(":")
        there = self.get(Person, actor) if kind == "u" else self.get(Group, actor)
        on = True if where == SYSTEM else self.get(Project, target) if where == "p" else self.get(Domain, target)
        return there is not None and on is not None

    def actors(self, user: Person) -> list[str]:
        """Whose grants a user has: its own, and its groups'."""
        return [f"u:{user.id}", *(f"g:{group}" for group in user.groups if self.get(Group, group) is not None)]

    def acts_everywhere(self, actors: Iterable[str]) -> bool:
        """Whether any of these was given, on whatever, a role that is not bound to it, or one that implies such; or any on the system."""
        grants = [grant for actor in actors for grant in self._grants.get(actor, {}).values()]
        roles = {role.id: role for role in self.all(Role)}
        held = {id_ for grant in grants for id_ in (*grant.roles, *grant.inherited)}
        found = expanded(held, {id_: role.implies for id_, role in roles.items()})
        unbound = any(id_ in roles and not roles[id_].domain_id and roles[id_].name in UNBOUND for id_ in found)
        return unbound or any(grant.target == SYSTEM and grant.roles for grant in grants)

    def lineage(self, project: Project) -> list[Project]:
        """The projects above one, the nearest first."""
        found: list[Project] = []
        parent = self.get(Project, project.parent_id)
        while parent is not None and len(found) < MAX_DEPTH and parent not in found:
            found.append(parent)
            parent = self.get(Project, parent.parent_id)
        return found

    def roles_on(self, user: Person, target: str) -> list[Role]:
        """The roles a user has on a target: granted, inherited from above, implied; those of one domain only stand for what they imply."""
        held: dict[str, None] = {}
        kind, _, id_ = target.partition(":")
        project = self.get(Project, id_) if kind == "p" else None
        above = [] if project is None else [f"p:{parent.id}" for parent in self.lineage(project)] + [f"d:{project.domain_id}"]
        for actor in self.actors(user):
            grants = self._grants.get(actor, {})
            if target in grants:
                held.update(dict.fromkeys(grants[target].roles))
            for higher in above:
                if higher in grants:
                    held.update(dict.fromkeys(grants[higher].inherited))
        if not held:
            return []
        roles = {role.id: role for role in self.all(Role)}
        ids = expanded(held, {id_: role.implies for id_, role in roles.items()})
        return [roles[id_] for id_ in ids if id_ in roles and not roles[id_].domain_id]

    def projects_of(self, user: Person) -> list[Project]:
        """The enabled projects on which a user has a role."""
        targets = {target for actor in self.actors(user) for target in self._grants.get(actor, {})}
        inherits = any(grant.inherited for actor in self.actors(user) for grant in self._grants.get(actor, {}).values())
        candidates = (
            self.all(Project) if inherits else [p for p in (self.get(Project, t[2:]) for t in sorted(targets) if t[:2] == "p:") if p]
        )
        return [project for project in candidates if self.is_usable(project) and self.roles_on(user, f"p:{project.id}")]

    def domains_of(self, user: Person) -> list[Domain]:
        """The enabled domains on which a user has a role."""
        targets = {target for actor in self.actors(user) for target in self._grants.get(actor, {}) if target[:2] == "d:"}
        found = [self.get(Domain, target[2:]) for target in sorted(targets)]
        return [domain for domain in found if domain is not None and domain.enabled and self.roles_on(user, f"d:{domain.id}")]

    def is_usable(self, value: Project | Person) -> bool:
        """Whether it is enabled, and its domain."""
        domain = self.get(Domain, value.domain_id)
        return value.enabled and domain is not None and domain.enabled

    # -- judging ----------------------------------------------------------------------------------------------

    def access(self, token: str) -> Access | None:
        """What a token is good for now; None when it is none of ours, has expired, was revoked, or its user lost what it was for."""
        now_us = self.clock.wall_us()
        found = self._judged.get(token)
        if found is None:
            bearer = self.bearers.open(token, now_us)
            found = None if bearer is None else self.judge(bearer)
            if found is None:
                return None
            self._judged[token] = found
            if len(self._judged) > JUDGED_KEPT:
                self._judged.popitem(last=False)
        if found.app_credential is not None and 0 < found.app_credential.expires_us <= now_us:
            return None
        return found if found.bearer.expires_us > now_us else None

    def judge(self, bearer: Bearer) -> Access | None:
        """What these words are good for, whenever they expire."""
        user = self.get(Person, bearer.user_id)
        if user is None or not self.is_usable(user) or not (bearer.trust_id or _is_current(bearer, user)):
            return None
        if any(self.get(Revocation, audit_id) is not None for audit_id in bearer.audit_ids[:1]):
            return None
        domain = self.get(Domain, user.domain_id)
        assert domain is not None
        kind, _, id_ = bearer.scope.partition(":")
        project = self.get(Project, id_) if kind == "p" else None
        scope_domain = self.get(Domain, id_) if kind == "d" else None
        if (kind == "p" and (project is None or not self.is_usable(project))) or (
            kind == "d" and (scope_domain is None or not scope_domain.enabled)
        ):
            return None
        roles = self.roles_on(user, bearer.scope) if bearer.scope else []
        credential = trust = None
        if bearer.trust_id:
            trust = self.trust(bearer.trust_id)
            if trust is None or bearer.scope != f"p:{trust.project_id}" or not self._stands_for(bearer, trust, user):
                return None
            roles = lent_roles(self, trust)
        if bearer.app_credential_id:
            credential = self.app_credential(bearer.app_credential_id)
            if credential is None or credential.user_id != user.id or bearer.scope != f"p:{credential.project_id}":
                return None
            roles = self.within(credential.roles, roles)
        if bearer.credential_id and self.get(Credential, bearer.credential_id) is None:
            return None
        if bearer.scope and not roles:
            return None
        project_domain = self.get(Domain, project.domain_id) if project is not None else None
        return Access(bearer, user, domain, tuple(roles), project, project_domain, scope_domain, credential, trust)

    def app_credential(self, id_: str) -> AppCredential | None:
        """An application credential that has not expired."""
        found = self.get(AppCredential, id_)
        return None if found is None or 0 < found.expires_us <= self.clock.wall_us() else found

    def within(self, allowed: Iterable[str], roles: list[Role]) -> list[Role]:
        """Those of a user's roles that are among these ids, or come with them."""
        implies = {role.id: role.implies for role in self.all(Role)}
        ids = set(expanded(allowed, implies))
        return [role for role in roles if role.id in ids]

    def trust(self, id_: str) -> Trust | None:
        """A trust that has not expired, nor one that it was lent on from."""
        found = self.get(Trust, id_)
        line = trust_line(self, found) if found is not None else []
        now_us = self.clock.wall_us()
        return found if line and not any(0 < trust.expires_us <= now_us for trust in line) else None

    def _stands_for(self, bearer: Bearer, trust: Trust, user: Person) -> bool:
        """Whether a token of a trust is for whom it says, and both its parties are there as they were when it was made."""
        trustor, trustee = self.get(Person, trust.trustor_id), self.get(Person, trust.trustee_id)
        if trustor is None or trustee is None or not self.is_usable(trustor) or not self.is_usable(trustee):
            return False
        if bearer.issued_us < trustor.valid_from_us or not _is_current(bearer, trustee):
            return False
        return user.id == (trust.trustor_id if trust.impersonation else trust.trustee_id)

    # -- keys of S3 -------------------------------------------------------------------------------------------

    def key(self, access_key: str) -> Credential | None:
        """The credential of an access key."""
        return self.get(Credential, self._access.get(access_key, ""))

    def secret_of(self, credential: Credential) -> str:
        """Its secret key; empty when it cannot be opened, with another cluster's key."""
        opened = self.secrets.open(credential.sealed, credential.id)
        return "" if opened is None else opened.decode("utf-8", "replace")

    def key_access(self, credential: Credential) -> Access | None:
        """Who a key of S3 stands for now, with which roles; None when it may not be used."""
        user, now_us = self.get(Person, credential.user_id), self.clock.wall_us()
        bearer = Bearer(
            1, credential.user_id, ("ec2credential",), f"p:{credential.project_id}", now_us, now_us, (), credential.app_credential_id,
            credential.id, proved_from_us=user.valid_from_us if user is not None else 0,
        )  # fmt: skip
        return self.judge(bearer)

    # -- changes ----------------------------------------------------------------------------------------------

    async def create(self, value: Kept) -> None:
        """Raises PreconditionFailed when its name is taken."""
        kind = _KIND_OF[type(value)]
        try:
            await self.feed.create(kind, value)
        except PreconditionFailed:
            # Somebody who died while a name was changed left the old one.
            if not await self.feed.replace_stale(kind, value, lambda left: self._is_left_over(kind, left)):
                raise

    def _is_left_over(self, kind: str, left: Kept) -> bool:
        now = self._ids[kind].get(left.id)
        return now is not None and now.record != left.record and now.changes > left.changes

    async def change(self, value: T, edit: Callable[[T], T]) -> T:
        """Change what is there under the name of `value`.  Raises PreconditionFailed when it is gone, or the new name is taken; ConditionalConflict."""
        kind = _KIND_OF[type(value)]

        def edited(found: Kept) -> Kept:
            if found.id != value.id:
                raise PreconditionFailed("it is another one by now", condition="version")
            changed = edit(cast("T", found))
            return found if changed == found else msgspec.structs.replace(changed, changes=found.changes + 1)

        preview = edited(value)
        if preview.record == value.record:
            return cast("T", await self.feed.change(kind, value.record, edited))
        return cast("T", await self._move(kind, value.record, edited))

    async def _move(self, kind: str, record: str, edited: Callable[[Kept], Kept]) -> Kept:
        """Change a record that gets another name by it: the old one goes as it was copied, else what was changed meanwhile is copied again."""
        stored = copied = None
        for _ in range(MOVE_ATTEMPTS):
            before, stored = stored, await self.feed.stored(kind, record)
            if copied is not None and (stored is None or stored == before):
                return copied  # it is gone, or there from the start
            if stored is None:
                raise PreconditionFailed("it is gone", condition="version")
            changed, last = edited(stored), copied
            if last is None:
                await self.create(changed)
            elif not await self.feed.replace_stale(kind, changed, lambda left, last=last: left == last):
                raise ConditionalConflict("others change it under its new name; look before trying again")
            copied = changed
            if await self.feed.delete(kind, record, lambda old, stored=stored: old == stored):  # type: ignore[misc] # of this turn
                return copied
        raise ConditionalConflict("others kept changing what gets another name; try again")

    async def delete(self, value: Kept) -> bool:
        """Remove what is there; False when it is gone already.  Raises ConditionalConflict."""
        return await self.feed.delete(_KIND_OF[type(value)], value.record, lambda found: found.id == value.id)

    async def change_grant(self, actor: str, target: str, edit: Callable[[Grant], Grant]) -> Grant:
        """Give or take roles; a grant without any goes."""
        record, below = grant_record(actor, target), self.feed.tables["grant"].below
        # What is there from the start is changed, too: a record hides it, and must hold what it held.
        default = below.get(record) or Grant(RECORD_VERSION, f"{actor}/{target}", actor=actor, target=target)
        changed = cast("Grant", await self.feed.change("grant", record, lambda found: edit(cast("Grant", found)), default))
        if not changed.roles and not changed.inherited and record not in below:
            await self.feed.delete("grant", record, lambda found: not cast("Grant", found).roles and not cast("Grant", found).inherited)
        return changed

    async def delete_grants(self, gone: Collection[str]) -> None:
        """Remove what is left of users, groups, projects, domains that are gone, by their ids."""
        for grant in self.all(Grant):
            if grant.actor[2:] in gone or grant.target[2:] in gone:
                await self.feed.delete("grant", grant.record)

    async def revoke(self, bearer: Bearer, proved_by: str = "") -> None:
        """Make a token void; `proved_by` is the id of who proved who he is for it, where that is not its user.

        Whose tokens were made void one by one too often loses them all.
        """
        user_id = proved_by or bearer.user_id
        mark = Revocation(
            RECORD_VERSION, bearer.audit_ids[0], expires_us=bearer.expires_us, user_id=user_id, proved_from_us=bearer.proved_from_us
        )
        if self.get(Revocation, mark.id) is None:
            person = self.person(user_id)
            if person is not None and len(self._owned.get((Revocation, user_id), ())) >= MAX_MARKS:
                await self.void_tokens(person)
                return
            try:
                await self.feed.create("revocation", mark)
            except PreconditionFailed:
                await self.feed.announce("revocation", mark.record)  # whoever wrote it may not have been able to say so

    async def void_tokens(self, user: Person) -> None:
        """Make all tokens void that a user has."""
        await self.change(user, lambda found: msgspec.structs.replace(found, valid_from_us=self.voided_us(found)))

    def voided_us(self, user: Person) -> int:
        """`valid_from_us` of a user whose tokens end now: a larger number than it was, whatever the clock says."""
        return max(self.clock.wall_us(), user.valid_from_us + 1)

    async def sweep(self, expired_token_s: float = 0.0) -> int:
        """Remove trusts that have expired, and the marks of tokens that did so long ago that nobody may ask about them; how many."""
        now_us = self.clock.wall_us()
        asked_us = now_us - int(expired_token_s * 1e6)  # without its mark a token that was made void would only have expired
        gone: list[Kept] = [mark for mark in self.all(Revocation) if mark.expires_us < asked_us or self._is_needless(mark)]
        gone += [trust for trust in self.all(Trust) if 0 < trust.expires_us < now_us]
        for value in gone:
            await self.delete(value)
        return len(gone)

    def _is_needless(self, mark: Revocation) -> bool:
        """Whether a token is void besides: all of its user's were made so after it."""
        person = self.person(mark.user_id)
        return person is not None and 0 <= mark.proved_from_us < person.valid_from_us

    # -- keys of tokens ---------------------------------------------------------------------------------------

    def _use_keys(self) -> None:
        kept = self.get(TokenKeys, _TOKEN_KEYS)
        keys = BUILT_IN if kept is None else self._opened_keys(kept)
        if keys is not None:
            self.bearers.use(keys)

    def _opened_keys(self, kept: TokenKeys) -> KeySet | None:
        if not kept.sealed:
            return BUILT_IN
        opened = self.secrets.open(kept.sealed, kept.id)
        try:
            return None if opened is None else msgspec.msgpack.decode(opened, type=KeySet)
        except msgspec.DecodeError:
            log.error("the keys of tokens cannot be read, those known stay")  # noqa: TRY400 the trace tells no more
            return None

    async def rotate_token_keys(self, *, revoke: bool = False, age_s: float = 0.0) -> KeySet:
        """Seal tokens with the next key from now on; with `revoke` none of those before is good any more.

        With `age_s` only where the present key is older: of many processes that find it so at once, one changes it.
        Raises ConditionalConflict, Unavailable, DamagedBody when the keys cannot be opened.
        """

        def edit(found: Kept) -> Kept:
            kept = cast("TokenKeys", found)
            keys = self._opened_keys(kept)
            if keys is None:
                raise DamagedBody("the keys of tokens cannot be opened with this cluster's key")
            now_us = self.clock.wall_us()
            if age_s and keys.age_us(now_us) <= age_s * 1e6:
                return found
            following = rotated(keys, now_us, (self.rng.token(32), self.rng.token(32)), revoke=revoke)
            sealed = self.secrets.seal(msgspec.msgpack.encode(following), kept.id)
            return msgspec.structs.replace(kept, sealed=sealed, changes=kept.changes + 1)

        await self.feed.change("token-keys", TokenKeys(RECORD_VERSION, _TOKEN_KEYS).record, edit, TokenKeys(RECORD_VERSION, _TOKEN_KEYS))
        return self.bearers.keys


def _owners(value: Kept) -> list[str]:
    found = (getattr(value, name, "") for name in ("user_id", "project_id", "trustor_id", "trustee_id"))
    return list(dict.fromkeys(owner for owner in found if owner))


def _is_current(bearer: Bearer, proved: Person) -> bool:
    """Whether nothing that voids somebody's tokens (another password, being disabled) came after he proved who he is."""
    if bearer.proved_from_us < 0:
        return bearer.issued_us >= proved.valid_from_us
    return bearer.proved_from_us == proved.valid_from_us


_KIND_OF: dict[type[Any], str] = {struct: kind for kind, struct in KINDS.items()}
