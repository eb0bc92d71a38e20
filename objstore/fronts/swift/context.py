"""What every handler of the Swift front needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from objstore.core.container_sync import Realms, SyncSettings
from objstore.fronts.swift.answers import SwiftRefused
from objstore.objects.api import ObjectStoreApi, Principal
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import Threads

GIB = 1024**3
_NO_SYNC = SyncSettings()
# Between the prefix and the rest of a service's account, where names of accounts have none: SERVICE_abc is another account than AUTH_SERVICE_abc.
SERVICE_MARK = ":"


class SwiftSettings(msgspec.Struct, frozen=True):
    """Limits and names."""

    reseller_prefix: str = "AUTH_"
    service_prefixes: tuple[str, ...] = ()  # of accounts that open for a user with a service's token besides his own: ("SERVICE_",)
    storage_domains: tuple[str, ...] = ()  # container.account.DOMAIN names a container by host
    mangle_client_paths: bool = False  # there, `/v1/` before a path is left out: for clients that always send it
    max_file_bytes: int = 5 * GIB
    account_listing_limit: int = 10_000
    container_listing_limit: int = 10_000
    max_bulk_deletes: int = 10_000
    max_ranges: int = 50
    max_archive_bytes: int = 5 * GIB  # of one bulk upload, as it comes and as it unpacks
    max_archive_members: int = 100_000
    max_failed_extractions: int = 1000
    max_containers_per_extraction: int = 10_000
    yield_frequency_s: float = 10.0  # between the blanks that tell a client of long work that it goes on
    policy_name: str = "default"
    etag_quoter: bool = False  # whether containers and accounts may ask for ETags in quotes
    etag_quoter_by_default: bool = False  # what holds for those that say nothing
    account_ratelimit: float = 0.0  # containers made and removed in a second, of an account, by this proxy; 0: no limit
    container_ratelimit: dict[str, float] = {}  # objects of a container -> writes in a second, see ratelimit.py
    container_listing_ratelimit: dict[str, float] = {}
    max_sleep_s: float = 60.0  # who would have to wait longer is refused
    rate_buffer_s: float = 5.0  # so long a burst is let in
    account_whitelist: tuple[str, ...] = ()  # AUTH_name: without limits
    account_blacklist: tuple[str, ...] = ()  # AUTH_name: refused
    cross_domain_policy: str = ""  # what /crossdomain.xml says, as XML; <allow-access-from domain="*" /> lets everybody in


class TokenCheck(Protocol):
    """Who knows whom a token stands for."""

    def who(self, token: str, method: str, path: str) -> Principal | None:
        """The principal, None for a token that is not, or no longer, good, or not for this request."""


class LaterCheck(TokenCheck, Protocol):
    """The same, where others make what it knows: it can look again."""

    async def refresh(self) -> None:
        """See what was made elsewhere before now.  Raises nothing."""


class LogIn(TokenCheck, Protocol):
    """Version 1 of authentication."""

    def log_in(self, user: str, key: str) -> tuple[str, Principal] | None:
        """A token for `account:user` and its key."""


@dataclass(frozen=True, slots=True)
class SwiftFront:
    """The Swift front's dependencies."""

    store: ObjectStoreApi
    auth: LogIn
    settings: SwiftSettings
    clock: Clock
    rng: Rng
    checks: tuple[LaterCheck, ...] = ()  # asked after `auth`, in this order
    threads: Threads | None = None  # for work that would hold up the event loop
    policies: Mapping[str, str] = field(default_factory=dict)  # further storage policies, each with the class of its containers' objects
    sync: SyncSettings = _NO_SYNC
    realms: Realms = field(default_factory=dict, repr=False)  # of clusters that containers may be sent to, and that may send

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What accounts begin with in paths."""
        return (*self.settings.service_prefixes, self.settings.reseller_prefix)

    def account_of(self, segment: str) -> str:
        """The account behind a path's second segment.  Raises SwiftRefused (404) for another reseller's."""
        for prefix in self.prefixes:
            rest = segment[len(prefix) :]
            if segment.startswith(prefix) and rest and "/" not in rest and SERVICE_MARK not in rest:
                return rest if prefix == self.settings.reseller_prefix else prefix + SERVICE_MARK + rest
        raise SwiftRefused(404)

    def segment_of(self, account: str) -> str:
        """The path's second segment for an account."""
        prefix, mark, rest = account.partition(SERVICE_MARK)
        return prefix + rest if mark else self.settings.reseller_prefix + account

    def service_accounts(self, account: str) -> list[str]:
        """The accounts in which services keep what is this account's."""
        return [prefix + SERVICE_MARK + account for prefix in self.settings.service_prefixes]

    def storage_url(self, origin: str, account: str) -> str:
        """Where an account's containers are."""
        return f"{origin}/v1/{self.segment_of(account)}"
