"""Changing identities: each change is one compare-and-set of one record, then a line in the journal.

A change is acknowledged once every proxy can learn of it.  What depends on a second record (a group that still has members) is looked at
before, as fresh as can be; a change that slips in between leaves a reference to an id that is gone, which means nothing.
"""

import contextlib
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from objstore.errors import ConditionalConflict, PreconditionFailed
from objstore.identity.directory import Directory, fixed_holder
from objstore.identity.entities import (
    MAX_OF_ACCOUNT,
    USER,
    Holder,
    HolderKey,
    IdentityRefused,
    ManagedPolicy,
    WebProvider,
    exists_already,
    key_of,
    no_such,
    over_limit,
)
from objstore.records.store import Entry, Records, Version

T = TypeVar("T", bound=msgspec.Struct)
ATTEMPTS = 8  # each has a rival's success before it


class Changes:
    """Writes identities."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory

    def _records(self, shelf: str) -> Records[msgspec.Struct]:
        return self.directory.shelves[shelf].records

    async def _create(self, shelf: str, record: str, value: msgspec.Struct, taken: IdentityRefused) -> None:
        try:
            await self._records(shelf).put_if(record, value, None)
        except PreconditionFailed:
            raise taken from None
        await self.directory.changed(shelf, record)

    async def _change(self, shelf: str, record: str, edit: Callable[[T], T], missing: IdentityRefused, default: T | None = None) -> T:
        try:
            changed = await self._records(shelf).change(record, edit, default)  # type: ignore[arg-type] # a shelf holds one type
        except PreconditionFailed:
            raise missing from None
        await self.directory.changed(shelf, record)
        return changed  # type: ignore[return-value] # the same

    async def _delete(self, shelf: str, record: str, check: Callable[[T], None], missing: IdentityRefused) -> None:
        unknown = False  # whether it went may be our doing
        for _ in range(ATTEMPTS):
            entry = await self._records(shelf).get(record)
            if entry is None:
                if unknown or record in self.directory.shelves[shelf].held:  # whoever removed it may not have been able to say so
                    await self.directory.changed(shelf, record)
                if unknown:
                    return
                raise missing
            check(entry.value)  # type: ignore[arg-type] # the same
            try:
                await self._records(shelf).delete_if(record, entry.version)
            except ConditionalConflict:
                unknown = True
                continue
            except PreconditionFailed:
                continue
            await self.directory.changed(shelf, record)
            return
        raise ConditionalConflict("others kept changing what was to be deleted; try again")

    # -- users, groups, roles ---------------------------------------------------------------------------------

    async def create_holder(self, holder: Holder) -> None:
        """Raises IdentityRefused when there is one of that name."""
        record = key_of(holder).record
        _check_room(holder.kind, holder.account, (h.account for h in self.directory.holders.values() if h.kind == holder.kind))
        await self._claim(record, holder)
        await self.directory.changed("holder", record)

    async def change_holder(self, key: HolderKey, edit: Callable[[Holder], Holder]) -> Holder:
        """Change one; a user of the identities file gets a record beside it.  Raises IdentityRefused."""
        self._check_current(key)
        user = self.directory.fixed_user(key.record)
        default = None if user is None else fixed_holder(user)
        return await self._change("holder", key.record, edit, no_such(key.kind, key.name), default)

    async def rename_holder(self, key: HolderKey, edit: Callable[[Holder], Holder]) -> None:
        """Change one that may get another name by it.  Raises IdentityRefused, ConditionalConflict.

        The new record is there before the old one goes, and the old one goes as it was copied or not at all: what was changed in
        between (a key that was taken away) is copied again.  Nobody is told of the new record until then.
        """
        self._check_current(key)
        records = self._records("holder")
        record, copied = key.record, None
        done = False  # whether, when the old record is gone, that may be our doing
        for _ in range(ATTEMPTS):
            entry = await records.get(key.record)
            if entry is not None:
                assert isinstance(entry.value, Holder)
                changed = edit(entry.value)
                record = key_of(changed).record
                if record == key.record:
                    await self.change_holder(key, edit)
                    return
                if copied is None:
                    copied, done = await self._claim(record, changed)
                else:
                    copied = await self._put_copy(record, changed, copied)
                try:
                    await records.delete_if(key.record, entry.version)
                except ConditionalConflict:
                    done = True
                    continue
                except PreconditionFailed:
                    continue
            elif not done:
                if copied is not None:  # the user was deleted meanwhile
                    with contextlib.suppress(PreconditionFailed):
                        await records.delete_if(record, copied)
                raise no_such(key.kind, key.name)
            for name in (record, key.record):
                await self.directory.changed("holder", name)
            return
        raise ConditionalConflict("others kept changing what was to be renamed; try again")

    async def _claim(self, record: str, holder: Holder) -> tuple[Version, bool]:
        """Write a record under a free name.  Raises IdentityRefused, ConditionalConflict.

        Returns its version, and whether a copy was there already, from somebody who renames the same one too, or died while renaming it.
        """
        left = await self._records("holder").get(record)
        if self.directory.fixed_user(record) is not None or (left is not None and not await self._is_left_over(left, holder.id)):
            raise exists_already(holder.kind, holder.name)
        version = await self._put_copy(record, holder, None if left is None else left.version)
        return version, left is not None and isinstance(left.value, Holder) and left.value.id == holder.id

    async def _put_copy(self, record: str, holder: Holder, expected: Version | None) -> Version:
        try:
            return await self._records("holder").put_if(record, holder, expected)
        except PreconditionFailed:
            raise exists_already(holder.kind, holder.name) from None

    async def _is_left_over(self, left: Entry[msgspec.Struct], id_: str) -> bool:
        """Whether a record is what somebody who died while renaming left: of the one who is renamed now, or of one with a newer record."""
        assert isinstance(left.value, Holder)
        if left.value.id == id_:
            return True
        current = self.directory.holder_of(left.value.id)
        newer = None if current is None else await self._records("holder").get(key_of(current).record)
        return newer is not None and isinstance(newer.value, Holder) and newer.value.id == left.value.id and newer.version > left.version

    def _check_current(self, key: HolderKey) -> None:
        """Raises IdentityRefused for a record whose owner goes by another name."""
        if self.directory.is_left_over(key.record):
            raise no_such(key.kind, key.name)

    async def delete_holder(self, key: HolderKey, check: Callable[[Holder], None]) -> None:
        """Delete one that `check` lets go.  Raises IdentityRefused."""
        if key.kind == USER and self.directory.fixed_user(key.record) is not None:
            raise IdentityRefused("UnmodifiableEntity", f"The user {key.name} belongs to the identities file; take it out there.", 400)
        self._check_current(key)
        await self._delete("holder", key.record, check, no_such(key.kind, key.name))

    # -- policies and providers -------------------------------------------------------------------------------

    async def create_policy(self, policy: ManagedPolicy) -> None:
        """Raises IdentityRefused when there is one of that name."""
        _check_room("policy", policy.account, (found.account for found in self.directory.policies.values()))
        await self._create("policy", _policy_record(policy), policy, exists_already("policy", policy.name))

    async def change_policy(self, policy: ManagedPolicy, edit: Callable[[ManagedPolicy], ManagedPolicy]) -> ManagedPolicy:
        """Change a managed policy.  Raises IdentityRefused."""
        return await self._change("policy", _policy_record(policy), edit, no_such("policy", policy.name))

    async def delete_policy(self, policy: ManagedPolicy, check: Callable[[ManagedPolicy], None]) -> None:
        """Delete a managed policy that `check` lets go.  Raises IdentityRefused."""
        await self._delete("policy", _policy_record(policy), check, no_such("policy", policy.name))

    async def create_provider(self, provider: WebProvider) -> None:
        """Raises IdentityRefused when there is one of that address."""
        _check_room("oidc-provider", provider.account, (found.account for found in self.directory.providers.values()))
        await self._create("provider", _provider_record(provider), provider, exists_already("provider", provider.url))

    async def change_provider(self, provider: WebProvider, edit: Callable[[WebProvider], WebProvider]) -> WebProvider:
        """Change a provider.  Raises IdentityRefused."""
        self._check_own(provider)
        return await self._change("provider", _provider_record(provider), edit, no_such("provider", provider.url))

    async def delete_provider(self, provider: WebProvider) -> None:
        """Delete a provider.  Raises IdentityRefused."""
        self._check_own(provider)
        await self._delete("provider", _provider_record(provider), _anything, no_such("provider", provider.url))

    def _check_own(self, provider: WebProvider) -> None:
        if provider.arn in self.directory.fixed_providers:
            raise IdentityRefused("UnmodifiableEntity", "The provider belongs to the identities file; change it there.", 400)


def _check_room(kind: str, account: str, accounts: Iterable[str]) -> None:
    """Raises IdentityRefused when an account has as many of a kind as it may."""
    limit = MAX_OF_ACCOUNT[kind]
    if sum(found == account for found in accounts) >= limit:
        raise over_limit(_QUOTAS[kind], limit)


_QUOTAS = {
    "user": "UsersPerAccount", "group": "GroupsPerAccount", "role": "RolesPerAccount", "policy": "PoliciesPerAccount",
    "oidc-provider": "OpenIdConnectProvidersPerAccount",
}  # fmt: skip


def _anything(_: msgspec.Struct) -> None:
    return


def _policy_record(policy: ManagedPolicy) -> str:
    return f"{policy.account}/{policy.name.lower()}"


def _provider_record(provider: WebProvider) -> str:
    return f"{provider.account}/{provider.url}"
