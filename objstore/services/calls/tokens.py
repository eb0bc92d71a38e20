"""Tokens of the identity service at the door of another service, looked up at each use: what was revoked is void at once."""

from objstore.identity.registry import Registry
from objstore.identity.rules import Access, rule_allows
from objstore.identity.tenancy import AccessRule


class RegistryTokens:
    """Looks tokens up in the tables of this process."""

    def __init__(self, registry: Registry, service_type: str) -> None:
        self._registry = registry
        self._service_type = service_type

    async def access(self, token: str, method: str, path: str) -> Access | None:
        """Whom a token stands for; None where it is not good, or access rules of its application credential leave this request out."""
        found = self._registry.access(token)
        if found is None:
            await self._registry.feed.refresh()  # its user may have been made elsewhere a moment ago
            found = self._registry.access(token)
        if found is None:
            return None
        credential = found.app_credential
        if credential is not None and credential.limited:
            rules = [rule for id_ in credential.rules if (rule := self._registry.get(AccessRule, id_)) is not None]
            if not rule_allows(rules, self._service_type, method, path):
                return None
        return found
