"""How things are shown: with links, and without secrets."""

from typing import Any, cast

from objstore.fronts.identity import views
from objstore.fronts.identity.call import Call
from objstore.identity.tenancy import AccessRule, AppCredential, Credential, Domain, Endpoint, Group, Person, Project, Region, Role, Service
from tests.support.identity_rig import Rig, on_rig


def test_everything_has_its_id_and_a_link_to_itself() -> None:
    async def test(rig: Rig) -> None:
        class Asked:
            registry = rig.registry

            def link(self, path: str) -> str:
                return f"http://x{path}"

        call = cast("Call", Asked())
        sealed = rig.registry.secrets.seal(b"s3cret", "c")
        person = Person(1, "u", "joe", "d", password="$hash", default_project_id="p", description="x", password_expires_us=10**15)
        shown: list[Any] = [
            views.domain_view(call, Domain(1, "d", "D")),
            views.project_view(call, Project(1, "p", "P", "d", extra={"color": "red", "id": "forged"})),
            views.user_view(call, person),
            views.group_view(call, Group(1, "g", "G", "d")),
            views.role_view(call, Role(1, "r", "R")),
            views.region_view(call, Region(1, "here")),
            views.service_view(call, Service(1, "s", "S", type="t", description="x")),
            views.endpoint_view(call, Endpoint(1, "e", service_id="s", interface="public", url="http://y")),
            views.credential_view(call, Credential(1, "c", user_id="u", type="cert", sealed=sealed)),
            views.app_credential_view(call, AppCredential(1, "a", "app", user_id="u", project_id="p", secret="$hash", limited=True)),
            views.rule_view(call, AccessRule(1, "x", user_id="u", service="s", method="GET", path="/v3")),
        ]
        for view in shown:
            assert view["links"]["self"].endswith("/" + view["id"])
            assert "$hash" not in str(view)
        assert shown[1]["color"] == "red"
        assert shown[1]["id"] == "p"
        assert shown[1]["parent_id"] == "d"
        assert shown[2]["password_expires_at"] == "2001-09-09T01:46:40.000000Z"
        assert shown[8]["blob"] == "s3cret"
        assert shown[9]["access_rules"] == []
        key = Credential(1, "c", user_id="u", project_id="p", type="ec2", access="AK", sealed=sealed)
        assert views.credential_view(call, key)["blob"] == '{"access":"AK","secret":"s3cret"}'
        ec2 = views.ec2_view(call, key)
        assert (ec2["access"], ec2["secret"], ec2["tenant_id"], ec2["user_id"]) == ("AK", "s3cret", "p", "u")

    on_rig(test)
