"""Tokens of the identity service at the store's own door: whom they stand for there.

A project is an account.  Administrators, managers and members of it may do with its containers what the account may, readers read, other
roles what lists of containers let them; who has the role ResellerAdmin may act in every account.
"""

from objstore.core.policy import Kind, Policy, parse_policy
from objstore.identity.directory import Directory
from objstore.identity.entities import AWS_POLICY
from objstore.identity.managed import BUILT_IN
from objstore.identity.registry import Registry
from objstore.identity.rules import S3_NONE, S3_READ, Access, rule_allows, s3_rights
from objstore.identity.tenancy import DEFAULT_DOMAIN, RESELLER_ADMIN, SERVICE, AccessRule
from objstore.objects.access import IS_SERVICE, PROJECT_NAME, USER_ID, USER_NAME
from objstore.objects.api import Principal

SERVICE_TYPE = "object-store"
_KEPT = 4096
_READS: Policy = parse_policy(BUILT_IN[AWS_POLICY + "AmazonS3ReadOnlyAccess"].document.encode(), Kind.IDENTITY)


class ProjectTokens:
    """Looks tokens up in the registry, at each use: what was revoked or taken away is so at once."""

    def __init__(self, registry: Registry, directory: Directory) -> None:
        self._registry = registry
        self._directory = directory
        self._made: dict[int, tuple[Access, Principal]] = {}
        registry.on_change.append(self._made.clear)

    def who(self, token: str, method: str, path: str) -> Principal | None:
        """Whom a token stands for in a request; None where it is not good, is for no project, or its access rules leave this out."""
        access = self._registry.access(token)
        if access is None or access.project is None:
            return None
        credential = access.app_credential
        if credential is not None and credential.limited:
            rules = [rule for id_ in credential.rules if (rule := self._registry.get(AccessRule, id_)) is not None]
            if not rule_allows(rules, SERVICE_TYPE, method, path):
                return None
        found = self._made.get(id(access))
        if found is None or found[0] is not access:
            if len(self._made) >= _KEPT:
                self._made.clear()
            found = self._made[id(access)] = (access, self._principal(access))
        return found[1]

    async def refresh(self) -> None:
        """See what was made elsewhere before now.  Raises nothing."""
        await self._registry.feed.refresh()

    def _principal(self, access: Access) -> Principal:
        project = access.project
        assert project is not None
        rights = s3_rights(access.names)
        admin = RESELLER_ADMIN in access.names
        policies: tuple[Policy, ...] | None = None if admin else () if rights == S3_NONE else (_READS,) if rights == S3_READ else None
        owner = self._directory.owner_of(project.id)
        arn = f"arn:aws:iam::{project.id}:user/keystone/{access.user.id}"
        facts = {"aws:userid": access.user.id, "aws:principalarn": arn, "aws:principaltype": "User", USER_ID: access.user.id}
        # Names are only unique within a domain: lists may use those of the default one.
        if access.user.domain_id == DEFAULT_DOMAIN:
            facts[USER_NAME] = access.user.name
        if project.domain_id == DEFAULT_DOMAIN:
            facts[PROJECT_NAME] = project.name
        if SERVICE in access.names:
            facts[IS_SERVICE] = "true"
        return Principal(
            account=project.id, user=f"keystone/{access.user.id}", display_name=owner.display_name, canonical_id=owner.canonical_id,
            tenant=self._directory.tenant_of(project.id), admin=admin, arn=arn, policies=policies, facts=facts,
        )  # fmt: skip
