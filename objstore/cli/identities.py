"""Reads the identities files of a proxy, and the key sets that they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objstore.errors import InvalidArgument
from objstore.identity.entities import RECORD_VERSION, WebProvider
from objstore.identity.logic import parse_identities
from objstore.identity.model import OidcProvider, SwiftUser, User
from objstore.identity.web_keys import check_address
from objstore.identity.web_tokens import KeySet, bare


@dataclass(frozen=True)
class Known:
    """Users, providers of web identities, where the keys of some of these are to be fetched (ARN -> address), Swift's own users."""

    users: list[User]
    providers: list[WebProvider]
    key_addresses: dict[str, str]
    swift_users: list[SwiftUser]


def read_identities(paths: Sequence[str]) -> Known:
    """What the files hold.  Raises InvalidArgument, OSError."""
    known = Known([], [], {}, [])
    for path in paths:
        found = parse_identities(Path(path).read_text())
        known.users.extend(found.user)
        known.swift_users.extend(found.swift_user)
        for entry in found.oidc_provider:
            provider = _provider(entry)
            known.providers.append(provider)
            if entry.jwks_url:
                known.key_addresses[provider.arn] = entry.jwks_url
    return known


def _provider(entry: OidcProvider) -> WebProvider:
    if bool(entry.jwks_file) == bool(entry.jwks_url):
        raise InvalidArgument(f"identities: [[oidc_provider]] {entry.url} needs either jwks_file or jwks_url")
    keys = ""
    if entry.jwks_url:
        check_address(entry.jwks_url)
    else:
        keys = Path(entry.jwks_file).read_text()
        try:
            KeySet(keys)
        except InvalidArgument as failure:
            raise InvalidArgument(f"identities: {entry.jwks_file}: {failure}") from None
    return WebProvider(RECORD_VERSION, entry.account, bare(entry.url), 0, entry.client_ids, keys=keys)
