"""Tokens at the door of a service."""

from objstore.identity.bearer import Bearer
from objstore.identity.tenancy import RECORD_VERSION, AccessRule, AppCredential, Person
from objstore.services.calls.tokens import RegistryTokens
from tests.support.image_rig import ALICE, PROJECTS, ImageRig, on_image_rig


def test_a_token_is_good_as_long_as_its_user_has_a_role() -> None:
    async def test(rig: ImageRig) -> None:
        tokens = RegistryTokens(rig.registry, "image")
        access = await tokens.access(rig.token(ALICE), "GET", "/v2/images")
        assert access is not None
        assert access.project is not None
        assert access.project.id == PROJECTS[ALICE]
        assert await tokens.access("x", "GET", "/") is None
        rig.clock.skew_us += 3_600_000_001
        assert await tokens.access(rig.token(ALICE)[:-2], "GET", "/") is None

    on_image_rig(test)


def test_an_application_credential_keeps_within_its_access_rules() -> None:
    async def test(rig: ImageRig) -> None:
        user = next(person for person in rig.registry.all(Person) if person.name == ALICE)
        rule = AccessRule(RECORD_VERSION, "rule", user_id=user.id, service="image", method="GET", path="/v2/images")
        roles = tuple(role.id for role in rig.registry.roles_on(user, f"p:{PROJECTS[ALICE]}"))
        credential = AppCredential(
            RECORD_VERSION, "cred", "program", user_id=user.id, project_id=PROJECTS[ALICE], roles=roles, limited=True, rules=("rule",)
        )
        await rig.registry.create(rule)
        await rig.registry.create(credential)
        now_us = rig.clock.wall_us()
        bearer = Bearer(1, user.id, ("application_credential",), f"p:{PROJECTS[ALICE]}", now_us, now_us + 10**9, ("x",), "cred")
        token = rig.registry.bearers.seal(bearer)
        tokens = RegistryTokens(rig.registry, "image")
        assert await tokens.access(token, "GET", "/v2/images") is not None
        assert await tokens.access(token, "POST", "/v2/images") is None
        assert await RegistryTokens(rig.registry, "volume").access(token, "GET", "/v2/images") is None

    on_image_rig(test)
