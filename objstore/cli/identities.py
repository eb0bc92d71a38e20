"""Reads the identities files of a proxy, and the key sets that they name."""

from collections.abc import Sequence
from pathlib import Path

from objstore.errors import InvalidArgument
from objstore.identity.entities import RECORD_VERSION, WebProvider
from objstore.identity.logic import parse_identities
from objstore.identity.model import OidcProvider, User
from objstore.identity.web_tokens import KeySet, bare


def read_identities(paths: Sequence[str]) -> tuple[list[User], list[WebProvider]]:
    """Users, and providers of web identities.  Raises InvalidArgument, OSError."""
    found = [parse_identities(Path(path).read_text()) for path in paths]
    users = [user for identities in found for user in identities.user]
    return users, [_provider(entry) for identities in found for entry in identities.oidc_provider]


def _provider(entry: OidcProvider) -> WebProvider:
    keys = Path(entry.jwks_file).read_text()
    try:
        KeySet(keys)
    except InvalidArgument as failure:
        raise InvalidArgument(f"identities: {entry.jwks_file}: {failure}") from None
    return WebProvider(RECORD_VERSION, entry.account, bare(entry.url), 0, entry.client_ids, keys=keys)
