"""Whatever is sent to whichever route: an answer below 500, in JSON, and the service goes on."""

import random
from typing import Any

from objstore.fronts.identity.app import ROUTES
from tests.support.identity_rig import Rig, on_rig

WORDS = [
    "domain",
    "project",
    "user",
    "group",
    "role",
    "service",
    "endpoint",
    "region",
    "credential",
    "application_credential",
    "auth",
    "credentials",
    "policy",
    "consumer",
    "endpoint_group",
    "config",
    "limit",
    "limits",
    "registered_limit",
    "registered_limits",
    "trust",
]
FIELDS = ["name", "id", "enabled", "description", "domain_id", "parent_id", "tags", "password", "original_password", "default_project_id", "options",
          "type", "blob", "user_id", "project_id", "roles", "access_rules", "expires_at", "unrestricted", "secret", "interface", "url", "service_id",
          "region_id", "parent_region_id", "identity", "methods", "scope", "token", "access", "signature", "headers", "params", "verb", "links", "extra",
          "filters", "ldap", "resource_name", "resource_limit", "default_limit", "is_domain", "trustor_user_id", "trustee_user_id", "impersonation",
          "remaining_uses", "redelegation_count", "allow_redelegation"]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 1 << 62, 1.5, "", "x", "default", "admin", "a/b", "é\x00\x7f", "x" * 300, "2026-01-01T00:00:00Z", [], {}, [[]], [{}], ["password"],
    ["token"], {"id": "x"}, {"name": "x"}, {"all": True}, {"project": {"id": "admin"}}, {"user": {"name": "admin", "password": "x", "domain": {"id": "default"}}},
    [{"name": "reader"}], [{"id": 7}], [{"path": "/", "method": "GET", "service": "s"}],
]  # fmt: skip
QUERIES = [
    "",
    "?limit=1",
    "?limit=x",
    "?marker=x",
    "?name=x&enabled=0",
    "?effective&include_names",
    "?user.id=x",
    "?scope.project.id=x",
    "?tags=a,b",
    "?allow_expired=1",
]
SEGMENTS = ["x", "admin", "default", "%00", "%2F", "..", "%C3%A9", "a" * 300]


def body(dice: random.Random) -> Any:
    found = {dice.choice(FIELDS): dice.choice(VALUES) for _ in range(dice.randrange(6))}
    return dice.choice([found, {dice.choice(WORDS): found}, {dice.choice(WORDS): found}, {dice.choice(WORDS): dice.choice(VALUES)}])


def test_no_request_makes_the_service_fail() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        dice = random.Random(5)
        ids = [
            "admin",
            "acme",
            "default",
            *(user.id for user in map(rig.registry.user_named, ("admin", "joe"), ("default", "default")) if user),
        ]
        routes = sorted(ROUTES)
        for _ in range(2500):
            method, template = dice.choice(routes)
            path = "/".join(dice.choice([*SEGMENTS, *ids, *ids]) if piece[:1] == "{" else piece for piece in template.split("/"))
            kind = next((word for word in WORDS if template.startswith(f"/{word}")), dice.choice(WORDS))
            sent = (
                {kind: {dice.choice(FIELDS): dice.choice(VALUES) for _ in range(dice.randrange(8))}} if dice.random() < 0.6 else body(dice)
            )
            token = dice.choice([root, root, root, joe, ""])
            reply = await rig.ask(
                method,
                path + dice.choice(QUERIES),
                sent,
                token=token,
                headers={"x-subject-token": dice.choice([root, "x"])} if dice.random() < 0.2 else None,
            )
            assert reply.status < 500 or reply.status == 501, (method, path, sent, reply.raw)
            if reply.status >= 400:
                assert reply.body["error"]["code"] == reply.status
            if reply.status == 204 and rig.registry.access(root) is None:
                root = (await rig.login()).token if (await rig.login()).status == 201 else root

    on_rig(test)
