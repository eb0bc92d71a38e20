"""Who may do what, for every route there is: a route without a row here fails.

Every route is asked by everybody of `CALLERS`.  A row names those who may; all others must get 401 (nobody) or 403, and the records
must be as before.  Targets are of domain Default and project acme; what a call would remove is made for it.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from objstore.fronts.identity.app import OPEN, ROUTES
from objstore.identity.tenancy import KINDS
from tests.support.identity_rig import Rig, on_rig

CALLERS = {
    "n": "nobody", "o": "manager of another domain", "r": "reader of the project", "m": "member of the project", "p": "manager of the project",
    "u": "the user itself, member of the project", "d": "reader of the domain", "D": "manager of the domain", "s": "reader of the system",
    "S": "a service", "A": "the administrator",
}  # fmt: skip
ALL = "ormpudDsSA"  # with any token
LOOK = "sA"
Body = Any


@dataclass(frozen=True)
class Row:
    """Who may, and what makes a request of it that is well-formed.  {n} in a body is a number that was not used before."""

    who: str
    body: Body = None
    query: str = ""
    given: dict[str, str] = field(default_factory=dict)  # parameters in place of the usual


def row(who: str, body: Body = None, query: str = "", **given: str) -> Row:
    return Row(who, body, query, given)


def kept(
    base: str, name: str, one: str, body: dict[str, Any], *, look: str = LOOK, lists: str = LOOK, change: str = "A"
) -> dict[tuple[str, str], Row]:
    """The five calls of something that is kept."""
    return {
        ("POST", base): row(change, {name: body}), ("GET", base): row(lists), ("GET", one): row(look),
        ("PATCH", one): row(change, {name: {"description": "d{n}"}}), ("DELETE", one): row(change),
    }  # fmt: skip


NEW = {"name": "new{n}"}
TRUST = {
    "trustor_user_id": "{user}",
    "trustee_user_id": "{ann}",
    "project_id": "acme",
    "impersonation": True,
    "roles": [{"name": "member"}],
}
EC2 = "/users/{user_id}/credentials/OS-EC2"
APP = "/users/{user_id}/application_credentials"
GROUP = "/OS-EP-FILTER/endpoint_groups"
CONFIG = "/domains/{domain_id}/config"
LIMIT = {"service_id": "{service}", "resource_name": "r{n}", "default_limit": 1}
ROWS: dict[tuple[str, str], Row] = {
    ("POST", "/auth/tokens"): row(ALL + "n", {"auth": {"identity": {"methods": ["token"], "token": {"id": "{subject}"}}}}),
    ("GET", "/auth/tokens"): row("usSA"),
    ("DELETE", "/auth/tokens"): row("uA"),
    ("GET", "/auth/catalog"): row(ALL),
    ("GET", "/auth/projects"): row(ALL),
    ("GET", "/auth/domains"): row(ALL),
    ("GET", "/auth/system"): row(ALL),
    **kept("/domains", "domain", "/domains/{domain_id}", NEW, look="rmpudDsSA", lists="odDsA"),
    **kept("/projects", "project", "/projects/{project_id}", NEW, look="rmpuSdDsA", lists="odDsA", change="DA"),
    ("POST", "/projects"): row("DA", {"project": {**NEW, "domain_id": "default"}}),
    ("GET", "/projects/{project_id}/tags"): row("rmpuSdDsA"),
    ("PUT", "/projects/{project_id}/tags"): row("DA", {"tags": ["a", "blue"]}),
    ("DELETE", "/projects/{project_id}/tags"): row("DA"),
    ("GET", "/projects/{project_id}/tags/{tag}"): row("rmpuSdDsA"),
    ("PUT", "/projects/{project_id}/tags/{tag}"): row("DA"),
    ("DELETE", "/projects/{project_id}/tags/{tag}"): row("DA"),
    **kept("/users", "user", "/users/{user_id}", NEW, look="udDsA", lists="odDsA", change="DA"),
    ("POST", "/users"): row("DA", {"user": {**NEW, "domain_id": "default"}}),
    ("POST", "/users/{user_id}/password"): row(ALL + "n", {"user": {"original_password": "pw", "password": "pw"}}),
    ("GET", "/users/{user_id}/projects"): row("udDsA"),
    ("GET", "/users/{user_id}/groups"): row("udDsA"),
    **kept("/groups", "group", "/groups/{group_id}", NEW, look="dDsA", lists="odDsA", change="DA"),
    ("POST", "/groups"): row("DA", {"group": {**NEW, "domain_id": "default"}}),
    ("GET", "/groups/{group_id}/users"): row("dDsA"),
    ("PUT", "/groups/{group_id}/users/{user_id}"): row("DA"),
    ("GET", "/groups/{group_id}/users/{user_id}"): row("dDsA"),
    ("DELETE", "/groups/{group_id}/users/{user_id}"): row("DA"),
    **kept("/roles", "role", "/roles/{role_id}", NEW, look="oDsA", lists="oDsA"),
    ("GET", "/roles/{role_id}/implies"): row(LOOK),
    ("PUT", "/roles/{role_id}/implies/{implied_id}"): row("A"),
    ("GET", "/roles/{role_id}/implies/{implied_id}"): row(LOOK),
    ("DELETE", "/roles/{role_id}/implies/{implied_id}"): row("A"),
    ("GET", "/role_inferences"): row(LOOK),
    ("GET", "/role_assignments"): row("odDsA"),
    **kept("/services", "service", "/services/{service_id}", {"type": "t{n}"}),
    **kept("/endpoints", "endpoint", "/endpoints/{endpoint_id}", {"service_id": "{service}", "interface": "public", "url": "http://x"}),
    **kept("/regions", "region", "/regions/{region_id}", {"id": "region{n}"}, look=ALL, lists=ALL),
    ("PUT", "/regions/{region_id}"): row("A", {"region": {}}, region_id="region{n}"),
    ("POST", EC2): row("uA", {"tenant_id": "acme"}),
    ("GET", EC2): row("uA"),
    ("GET", f"{EC2}/{{access}}"): row("uA"),
    ("DELETE", f"{EC2}/{{access}}"): row("uA"),
    ("POST", "/credentials"): row("uA", {"credential": {"type": "x", "blob": "b", "user_id": "{user}"}}),
    ("GET", "/credentials"): row(ALL),
    ("GET", "/credentials/{credential_id}"): row("uA"),
    ("PATCH", "/credentials/{credential_id}"): row("uA", {"credential": {"blob": "b{n}"}}),
    ("DELETE", "/credentials/{credential_id}"): row("uA"),
    ("POST", "/ec2tokens"): row("SA", {"credentials": {}}),
    ("POST", "/s3tokens"): row("SA", {"credentials": {}}),
    ("POST", APP): row("u", {"application_credential": NEW}),
    ("GET", APP): row("usA"),
    ("GET", f"{APP}/{{credential_id}}"): row("usA"),
    ("DELETE", f"{APP}/{{credential_id}}"): row("uA"),
    ("GET", "/users/{user_id}/access_rules"): row("usA"),
    ("GET", "/users/{user_id}/access_rules/{rule_id}"): row("usA"),
    ("DELETE", "/users/{user_id}/access_rules/{rule_id}"): row("uA"),
    **kept("/policies", "policy", "/policies/{policy_id}", {"type": "t", "blob": "b"}),
    **kept("/OS-OAUTH1/consumers", "consumer", "/OS-OAUTH1/consumers/{consumer_id}", {}),
    **kept(GROUP, "endpoint_group", f"{GROUP}/{{group_id}}", {**NEW, "filters": {"interface": "admin"}}),
    ("GET", f"{GROUP}/{{group_id}}/projects"): row(LOOK),
    ("GET", f"{GROUP}/{{group_id}}/endpoints"): row(LOOK),
    ("PUT", f"{GROUP}/{{group_id}}/projects/{{project_id}}"): row("A"),
    ("GET", f"{GROUP}/{{group_id}}/projects/{{project_id}}"): row(LOOK),
    ("DELETE", f"{GROUP}/{{group_id}}/projects/{{project_id}}"): row("A"),
    ("PUT", "/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"): row("A"),
    ("GET", "/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"): row(LOOK),
    ("DELETE", "/OS-EP-FILTER/projects/{project_id}/endpoints/{endpoint_id}"): row("A"),
    ("GET", "/OS-EP-FILTER/projects/{project_id}/endpoints"): row(LOOK),
    ("GET", "/OS-EP-FILTER/projects/{project_id}/endpoint_groups"): row(LOOK),
    ("GET", "/OS-EP-FILTER/endpoints/{endpoint_id}/projects"): row(LOOK),
    ("PUT", CONFIG): row("A", {"config": {"identity": {"driver": "x"}}}),
    ("GET", CONFIG): row(LOOK),
    ("PATCH", CONFIG): row("A", {"config": {"identity": {"driver": "x"}}}),
    ("DELETE", CONFIG): row("A"),
    ("GET", f"{CONFIG}/{{group}}"): row(LOOK, group="identity"),
    ("PATCH", f"{CONFIG}/{{group}}"): row("A", {"config": {"identity": {"driver": "x"}}}, group="identity"),
    ("DELETE", f"{CONFIG}/{{group}}"): row("A", group="identity"),
    ("GET", f"{CONFIG}/{{group}}/{{option}}"): row(LOOK, group="identity", option="driver"),
    ("PATCH", f"{CONFIG}/{{group}}/{{option}}"): row("A", {"config": {"driver": "x"}}, group="identity", option="driver"),
    ("DELETE", f"{CONFIG}/{{group}}/{{option}}"): row("A", group="identity", option="driver"),
    ("GET", "/domains/config/default"): row(LOOK),
    ("GET", "/domains/config/{group}/default"): row(LOOK, group="identity"),
    ("GET", "/domains/config/{group}/{option}/default"): row(LOOK, group="identity", option="driver"),
    ("POST", "/registered_limits"): row("A", {"registered_limits": [LIMIT]}),
    ("GET", "/registered_limits"): row(ALL),
    ("GET", "/registered_limits/{limit_id}"): row(ALL),
    ("PATCH", "/registered_limits/{limit_id}"): row("A", {"registered_limit": {"default_limit": 2}}),
    ("DELETE", "/registered_limits/{limit_id}"): row("A"),
    ("POST", "/limits"): row("A", {"limits": [{"service_id": "{service}", "resource_name": "cores", "resource_limit": 1, "project_id": "admin"}]}),
    ("GET", "/limits"): row(ALL),
    ("GET", "/limits/model"): row(ALL),
    ("GET", "/limits/{limit_id}"): row("rmpudDsSA"),
    ("PATCH", "/limits/{limit_id}"): row("A", {"limit": {"resource_limit": 2}}),
    ("DELETE", "/limits/{limit_id}"): row("A"),
    ("POST", "/OS-TRUST/trusts"): row("u", {"trust": TRUST}),
    ("GET", "/OS-TRUST/trusts"): row("usA", query="?trustor_user_id={user}"),
    ("GET", "/OS-TRUST/trusts/{trust_id}"): row("usA"),
    ("DELETE", "/OS-TRUST/trusts/{trust_id}"): row("uA"),
    ("GET", "/OS-TRUST/trusts/{trust_id}/roles"): row("usA"),
    ("GET", "/OS-TRUST/trusts/{trust_id}/roles/{role_id}"): row("usA"),
    ("GET", "/OS-OBJSTORE/token_keys"): row(LOOK),
    ("POST", "/OS-OBJSTORE/token_keys"): row("A", {}),
}  # fmt: skip
for _target in ("/projects/{project_id}", "/domains/{domain_id}", "/system"):
    for _actor in ("/users/{user_id}", "/groups/{group_id}"):
        _look, _change = (LOOK, "A") if _target == "/system" else ("dDsA", "DA")
        for _head, _tail in (("", ""), ("/OS-INHERIT", "/inherited_to_projects"))[: 1 if _target == "/system" else 2]:
            _base = f"{_head}{_target}{_actor}/roles"
            ROWS[("GET", _base + _tail)] = row(_look)
            ROWS |= {
                (method, f"{_base}/{{role_id}}{_tail}"): row(_look if method == "GET" else _change) for method in ("GET", "PUT", "DELETE")
            }


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert set(ROUTES) == set(ROWS)
    assert {route for route, wanted in ROWS.items() if "n" in wanted.who} == OPEN


class World:
    """The callers' tokens, and things to ask about."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.tokens: dict[str, str] = {"n": ""}
        self.ids: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self.wrong: list[str] = []

    async def build(self) -> None:
        """Make everybody and everything that is only looked at."""
        rig, root = self.rig, await self.rig.admin()
        self.tokens["A"] = root
        other = (await rig.made(root, "/domains", "domain", name="Other"))["id"]
        places = {
            "o": ("domain", other, "manager"), "r": ("project", "acme", "reader"), "m": ("project", "acme", "member"), "p": ("project", "acme", "manager"),
            "u": ("project", "acme", "member"), "d": ("domain", "default", "reader"), "D": ("domain", "default", "manager"), "s": ("system", "", "reader"),
            "S": ("project", "acme", "service"),
        }  # fmt: skip
        for caller, (kind, id_, role) in places.items():
            user = await rig.made(
                root, "/users", "user", name=f"caller-{ord(caller)}", password="pw", domain_id=other if caller == "o" else "default"
            )
            target = "/system" if kind == "system" else f"/{kind}s/{id_}"
            assert (await rig.ask("PUT", f"{target}/users/{user['id']}/roles/{self._role(role)}", token=root)).status == 204
            self.ids[caller] = user["id"]
            await self.log_in(caller, kind, id_)
        self.ids["user"], self.ids["other"] = self.ids["u"], other
        self.ids["ann"] = (await rig.made(root, "/users", "user", name="ann", password="pw"))["id"]
        self.ids["service"] = (await rig.made(root, "/services", "service", type="compute"))["id"]
        for name in ("cores", "ram"):
            wanted = {"service_id": self.ids["service"], "resource_name": name, "default_limit": 1}
            assert (await rig.ask("POST", "/registered_limits", {"registered_limits": [wanted]}, token=root)).status == 201

    def _role(self, name: str) -> str:
        role = self.rig.registry.role_named(name)
        assert role is not None
        return role.id

    async def log_in(self, caller: str, kind: str, id_: str) -> None:
        scope = {"system": {"all": True}} if kind == "system" else {kind: {"id": id_}}
        reply = await self.rig.login(f"caller-{ord(caller)}", "pw", scope=scope, domain=self.ids["other"] if caller == "o" and "other" in self.ids else
                                     (id_ if caller == "o" else "default"))  # fmt: skip
        assert reply.status == 201, (caller, reply.raw)
        self.tokens[caller] = reply.token

    async def parameters(self, method: str, template: str, wanted: Row) -> dict[str, str]:
        """Values for a route's parameters: of new things, so that a call may remove them."""
        names = [piece[1:-1] for piece in template.split("/") if piece[:1] == "{"]
        found: dict[str, str] = {}
        for name in names:
            found[name] = self.filled(wanted.given[name]) if name in wanted.given else await self._new(name, template, method)
        await self._prepare(method, template, found)
        return found

    async def _new(self, name: str, template: str, method: str) -> str:
        rig, root, n = self.rig, self.tokens["A"], next(self._numbers)
        lone = template in (f"/{name[:-3]}s/{{{name}}}",) and method == "DELETE"
        if name == "domain_id":
            return (await rig.made(root, "/domains", "domain", name=f"d{n}", enabled=False))["id"] if lone else "default"
        if name == "project_id":
            return (await rig.made(root, "/projects", "project", name=f"p{n}", domain_id="default"))["id"] if lone else "acme"
        if name == "user_id":
            return (await rig.made(root, "/users", "user", name=f"u{n}", domain_id="default"))["id"] if lone else self.ids["user"]
        made = {
            "group_id": ("/groups", "group", {"name": f"g{n}", "domain_id": "default"}), "service_id": ("/services", "service", {"type": f"t{n}"}),
            "endpoint_id": ("/endpoints", "endpoint", {"service_id": self.ids["service"], "interface": "public", "url": "http://x"}),
            "region_id": ("/regions", "region", {"id": f"r{n}"}), "policy_id": ("/policies", "policy", {"type": "t", "blob": "b"}),
            "consumer_id": ("/OS-OAUTH1/consumers", "consumer", {}), "implied_id": ("/roles", "role", {"name": f"i{n}"}),
            "role_id": ("/roles", "role", {"name": f"r{n}"}),
        }  # fmt: skip
        if name == "group_id" and template.startswith(GROUP):
            return (await rig.made(root, GROUP, "endpoint_group", name=f"g{n}", filters={"interface": "admin"}))["id"]
        if name == "role_id" and ("/users/" in template or "/groups/" in template or "trusts" in template):
            return self._role("member" if "trusts" in template else "reader")
        if name in made:
            return (await rig.made(root, made[name][0], made[name][1], **made[name][2]))["id"]
        return await self._secret(name, template, n)

    async def _secret(self, name: str, template: str, n: int) -> str:
        """Something of the user's own."""
        rig, mine, root, user = self.rig, self.tokens["u"], self.tokens["A"], self.ids["user"]
        if name == "tag":
            return "blue"
        if name == "access":
            return (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}, token=mine)).body["credential"][
                "access"
            ]
        if name == "credential_id" and template.startswith("/users"):
            return (await rig.made(mine, f"/users/{user}/application_credentials", "application_credential", name=f"c{n}"))["id"]
        if name == "credential_id":
            return (await rig.made(mine, "/credentials", "credential", type="x", blob="b"))["id"]
        if name == "rule_id":
            path = f"/users/{user}/application_credentials"
            rule = {"service": "s", "method": "GET", "path": f"/{n}"}
            made = await rig.made(mine, path, "application_credential", name=f"c{n}", access_rules=[rule])
            await rig.ask("DELETE", f"{path}/{made['id']}", token=mine)
            return made["access_rules"][0]["id"]
        if name == "trust_id":
            return (await rig.made(mine, "/OS-TRUST/trusts", "trust", **self.filled(TRUST)))["id"]
        assert name == "limit_id", name
        if template.startswith("/registered"):
            wanted = self.filled({**LIMIT, "resource_name": f"made{n}"})
            return (await rig.ask("POST", "/registered_limits", {"registered_limits": [wanted]}, token=root)).body["registered_limits"][0][
                "id"
            ]
        for limit in (await rig.ask("GET", "/limits?project_id=acme", token=root)).body["limits"]:
            await rig.ask("DELETE", f"/limits/{limit['id']}", token=root)
        body = {"limits": [{"service_id": self.ids["service"], "resource_name": "ram", "resource_limit": 1, "project_id": "acme"}]}
        return (await rig.ask("POST", "/limits", body, token=root)).body["limits"][0]["id"]

    async def _prepare(self, method: str, template: str, found: dict[str, str]) -> None:
        """What must be there for a call that looks, changes or removes."""
        rig, root = self.rig, self.tokens["A"]
        path = template.format(**found)
        if template.startswith(CONFIG) and method != "PUT":
            await rig.ask("PUT", CONFIG.format(**found), {"config": {"identity": {"driver": "x"}}}, token=root)
        elif method in ("GET", "DELETE") and ("PUT", template) in ROUTES and "{region_id}" not in template:
            body = {"tags": ["blue"]} if template.endswith("/tags") else None
            assert (await rig.ask("PUT", path, body, token=root)).status < 300, path

    def filled(self, value: Any) -> Any:
        """A body with its marks replaced."""
        if isinstance(value, dict):
            return {name: self.filled(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [self.filled(entry) for entry in value]
        if isinstance(value, str):
            for name in ("user", "ann", "service", "subject"):
                value = value.replace(f"{{{name}}}", self.ids.get(name, ""))
            return value.replace("{n}", str(next(self._numbers))) if "{n}" in value else value
        return value

    def records(self) -> dict[str, list[Any]]:
        """Everything there is."""
        return {kind: list(self.rig.registry.all(struct)) for kind, struct in KINDS.items()}

    async def check(self, route: tuple[str, str], wanted: Row) -> None:
        """Ask a route as everybody."""
        method, template = route
        for caller, name in CALLERS.items():
            self.ids["subject"] = (await self.rig.login(f"caller-{ord('u')}", "pw", project="acme")).token
            found = await self.parameters(method, template, wanted)
            before = self.records()
            reply = await self.rig.ask(
                method, template.format(**found) + self.filled(wanted.query), self.filled(wanted.body), token=self.tokens[caller],
                headers={"x-subject-token": self.ids["subject"]} if template == "/auth/tokens" else None,
            )  # fmt: skip
            told = f"{method} {template} as {name}: {reply.status} {reply.raw[:200]!r}"
            if caller in wanted.who:
                right = reply.status < 500 and reply.status not in (401, 403, 404)
            else:
                right = reply.status == (401 if caller == "n" else 403) and self.records() == before
            if not right:
                self.wrong.append(told)
            if route == ("POST", "/users/{user_id}/password") and reply.status == 204:
                await self.log_in("u", "project", "acme")  # tokens from before are void


@pytest.mark.parametrize("part", range(4))
def test_who_may_do_what(part: int) -> None:
    async def test(rig: Rig) -> None:
        world = World(rig)
        await world.build()
        for route, wanted in list(ROWS.items())[part::4]:
            await world.check(route, wanted)
        assert not world.wrong, "\n".join(world.wrong)

    on_rig(test, password_history=0)
