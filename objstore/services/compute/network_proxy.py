"""Networks, security groups and floating addresses as the compute API showed them before 2.36: asked of the network service, told in Nova's words."""

from collections.abc import Sequence
from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, bad_request, conflict, not_found
from objstore.services.compute import fields
from objstore.services.compute.context import Action
from objstore.services.compute.fields import member, only
from objstore.services.compute.ids import is_uuid
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.views import View

GONE: Version = (2, 36)
ACTIONS_GONE: Version = (2, 44)
PROTOCOLS = ("tcp", "udp", "icmp")
MAX_PORT = 65_535
ANYWHERE = "0.0.0.0/0"


class NetworkProxy:
    """The handlers."""

    def __init__(self, networks: Neighbour) -> None:
        self._networks = networks

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        group, rule, address = "/v2.1/os-security-groups", "/v2.1/os-security-group-rules", "/v2.1/os-floating-ips"
        table: dict[tuple[str, str], Handler] = {
            ("GET", group): self.groups, ("POST", group): self.add_group, ("GET", group + "/{id}"): self.group,
            ("PUT", group + "/{id}"): self.change_group, ("DELETE", group + "/{id}"): self.remove_group, ("POST", rule): self.add_rule,
            ("DELETE", rule + "/{id}"): self.remove_rule, ("GET", address): self.addresses, ("POST", address): self.add_address,
            ("GET", address + "/{id}"): self.address, ("DELETE", address + "/{id}"): self.remove_address,
            ("GET", "/v2.1/os-floating-ip-pools"): self.pools, ("GET", "/v2.1/os-networks"): self.networks,
            ("GET", "/v2.1/os-networks/{id}"): self.network, ("GET", "/v2.1/os-tenant-networks"): self.tenant_networks,
            ("GET", "/v2.1/os-tenant-networks/{id}"): self.tenant_network,
        }  # fmt: skip
        return {key: _until_gone(handler) for key, handler in table.items()}

    # -- security groups --

    async def groups(self, call: Call) -> Answer:
        """The project's; administrators may ask for all."""
        query = [] if call.is_admin and call.first("all_tenants") in ("1", "true", "True") else [("tenant_id", call.project)]
        groups = await self._ask(call, "GET", "security-groups", query=query)
        names = {group["id"]: group for group in groups["security_groups"]}
        return Answer(body={"security_groups": [_group_view(group, names) for group in groups["security_groups"]]})

    async def group(self, call: Call) -> Answer:
        """One."""
        found = (await self._ask(call, "GET", "security-groups", call.parameters["id"]))["security_group"]
        return Answer(body={"security_group": _group_view(found, await self._names(call, found))})

    async def add_group(self, call: Call) -> Answer:
        """A new one; what goes out is let through, as before the network service."""
        made = await self._ask(call, "POST", "security-groups", body={"security_group": _group_entry(await call.document())})
        return Answer(body={"security_group": _group_view(made["security_group"], {})})

    async def change_group(self, call: Call) -> Answer:
        """Its name and description."""
        entry = _group_entry(await call.document())
        found = (await self._ask(call, "PUT", "security-groups", call.parameters["id"], body={"security_group": entry}))["security_group"]
        return Answer(body={"security_group": _group_view(found, await self._names(call, found))})

    async def remove_group(self, call: Call) -> Answer:
        """One less, where nobody uses it."""
        id_ = call.parameters["id"]
        if (await self._ask(call, "GET", "security-groups", id_))["security_group"]["name"] == "default":
            raise bad_request("Unable to delete system group 'default'")
        try:
            await self._ask(call, "DELETE", "security-groups", id_)
        except CallRefused as refused:
            raise bad_request(refused.message) if refused.status == 409 else refused from None
        return Answer(202)

    async def add_rule(self, call: Call) -> Answer:
        """A rule for what comes in."""
        known = ("parent_group_id", "ip_protocol", "from_port", "to_port", "cidr", "group_id")
        given = only(member(only(await call.document(), ("security_group_rule",)), "security_group_rule"), known, "security_group_rule")
        parent = member(given, "parent_group_id")
        if not is_uuid(parent):
            raise bad_request(f"Security group id is not uuid: {str(parent)[:64]}")
        await self._ask(call, "GET", "security-groups", str(parent))
        rule = _rule_entry(given, str(parent))
        try:
            made = (await self._ask(call, "POST", "security-group-rules", body={"security_group_rule": rule}))["security_group_rule"]
        except CallRefused as refused:
            raise bad_request(refused.message) if refused.status == 409 else refused from None
        remote = made.get("remote_group_id")
        names = {remote: (await self._ask(call, "GET", "security-groups", remote))["security_group"]} if remote else {}
        view = _rule_view(made, names)
        if given.get("cidr") and not remote:
            view["ip_range"] = {"cidr": given["cidr"]}  # as it was said; the network service drops what lies below the mask
        return Answer(body={"security_group_rule": view})

    async def remove_rule(self, call: Call) -> Answer:
        """One less."""
        await self._ask(call, "DELETE", "security-group-rules", call.parameters["id"])
        return Answer(202)

    async def _names(self, call: Call, group: View) -> dict[str, View]:
        wanted = {rule["remote_group_id"] for rule in group["security_group_rules"] if rule.get("remote_group_id")}
        if not wanted:
            return {}
        groups = (await self._ask(call, "GET", "security-groups"))["security_groups"]
        return {found["id"]: found for found in groups if found["id"] in wanted}

    # -- floating addresses --

    async def addresses(self, call: Call) -> Answer:
        """The project's."""
        found = (await self._ask(call, "GET", "floatingips", query=[("tenant_id", call.project)]))["floatingips"]
        pools = {network["id"]: network["name"] for network in await self._outside(call)}
        servers = await self._servers(call, found)
        return Answer(body={"floating_ips": [_address_view(address, pools, servers) for address in found]})

    async def address(self, call: Call) -> Answer:
        """One."""
        return Answer(body={"floating_ip": await self._one_address(call, call.parameters["id"])})

    async def add_address(self, call: Call) -> Answer:
        """One from a pool: an outside network by its name or id."""
        document = await call.document() if call.content_length else {}
        wanted = only(document, ("pool",)).get("pool")
        outside = await self._outside(call)
        chosen = next((network for network in outside if wanted in (None, network["id"], network["name"])), None)
        if chosen is None:
            raise not_found("Floating IP pool not found.")
        body = {"floatingip": {"floating_network_id": chosen["id"]}}
        try:
            made = (await self._ask(call, "POST", "floatingips", body=body))["floatingip"]
        except CallRefused as refused:
            raise CallRefused(403, refused.message) if refused.status == 409 else refused from None
        return Answer(body={"floating_ip": _address_view(made, {chosen["id"]: chosen["name"]}, {})})

    async def remove_address(self, call: Call) -> Answer:
        """Give it back."""
        await self._ask(call, "DELETE", "floatingips", call.parameters["id"])
        return Answer(202)

    async def pools(self, call: Call) -> Answer:
        """Outside networks."""
        return Answer(body={"floating_ip_pools": [{"name": network["name"] or network["id"]} for network in await self._outside(call)]})

    def actions(self) -> dict[str, Action]:
        """Actions on servers."""
        return {"addFloatingIp": self.connect, "removeFloatingIp": self.disconnect}

    async def connect(self, call: Call, given: Any) -> Answer:
        """Let an address stand for a server's."""
        _check_addresses(call)
        wanted = only(given, ("address", "fixed_address"), "addFloatingIp")
        address = fields.any_address("address", member(wanted, "address"))
        fixed = fields.any_address("fixed_address", wanted["fixed_address"]) if wanted.get("fixed_address") else ""
        ports = await self._ports(call)
        found = await self._by_address(call, address)
        inside = [(port["id"], ip["ip_address"]) for port in ports for ip in port["fixed_ips"] if ":" not in ip["ip_address"]]
        chosen = next(((port, ip) for port, ip in inside if fixed in ("", ip)), None)
        if chosen is None:
            raise bad_request("Specified fixed address not assigned to instance" if fixed else "No fixed IPs associated to instance")
        body = {"floatingip": {"port_id": chosen[0], "fixed_ip_address": chosen[1]}}
        try:
            await self._ask(call, "PUT", "floatingips", found["id"], body=body)
        except CallRefused as refused:
            raise bad_request(refused.message) if refused.status == 409 else refused from None
        return Answer(202)

    async def disconnect(self, call: Call, given: Any) -> Answer:
        """Take that back."""
        _check_addresses(call)
        address = fields.any_address("address", member(only(given, ("address",), "removeFloatingIp"), "address"))
        ports = {port["id"] for port in await self._ports(call)}
        found = await self._by_address(call, address)
        if found.get("port_id") not in ports:
            raise conflict(f"Floating ip {address} is not associated with instance {call.parameters['server_id'][:64]}.")
        await self._ask(call, "PUT", "floatingips", found["id"], body={"floatingip": {"port_id": None}})
        return Answer(202)

    async def _ports(self, call: Call) -> list[View]:
        """Those of the server that a call names, which is none where the caller does not see it."""
        call.check_write()
        query = [("device_id", call.parameters["server_id"])]
        if not call.is_admin:
            query.append(("tenant_id", call.project))
        found: list[View] = (await self._ask(call, "GET", "ports", query=query))["ports"]
        return found

    async def _by_address(self, call: Call, address: str) -> View:
        found = (await self._ask(call, "GET", "floatingips", query=[("floating_ip_address", address)]))["floatingips"]
        if not found:
            raise not_found("floating IP not found")
        first: View = found[0]
        return first

    async def _one_address(self, call: Call, id_: str) -> View:
        found = (await self._ask(call, "GET", "floatingips", id_))["floatingip"]
        pools = {network["id"]: network["name"] for network in await self._outside(call)}
        return _address_view(found, pools, await self._servers(call, [found]))

    async def _servers(self, call: Call, addresses: Sequence[View]) -> dict[str, str]:
        """Port -> server, of the ports that addresses stand for."""
        wanted = {address["port_id"] for address in addresses if address.get("port_id")}
        if not wanted:
            return {}
        ports = (await self._ask(call, "GET", "ports", query=[("id", id_) for id_ in sorted(wanted)]))["ports"]
        return {port["id"]: port["device_id"] for port in ports if port["device_owner"].startswith("compute:")}

    async def _outside(self, call: Call) -> list[View]:
        found: list[View] = (await self._ask(call, "GET", "networks", query=[("router:external", "true")]))["networks"]
        return found

    # -- networks --

    async def networks(self, call: Call) -> Answer:
        """All that the caller sees."""
        found = (await self._ask(call, "GET", "networks"))["networks"]
        return Answer(body={"networks": [{"id": network["id"], "label": network["name"]} for network in found]})

    async def network(self, call: Call) -> Answer:
        """One."""
        found = (await self._ask(call, "GET", "networks", call.parameters["id"]))["network"]
        return Answer(body={"network": {"id": found["id"], "label": found["name"]}})

    async def tenant_networks(self, call: Call) -> Answer:
        """The project's own, and shared ones."""
        found = (await self._ask(call, "GET", "networks"))["networks"]
        return Answer(body={"networks": [_tenant_view(network) for network in found if not network.get("router:external")]})

    async def tenant_network(self, call: Call) -> Answer:
        """One."""
        return Answer(body={"network": _tenant_view((await self._ask(call, "GET", "networks", call.parameters["id"]))["network"])})

    async def _ask(self, call: Call, method: str, *path: str, body: Any = None, query: Sequence[tuple[str, str]] = ()) -> Any:
        return await self._networks.ask(call, method, ("v2.0", *path), body, query=query)


def _until_gone(handler: Handler) -> Handler:
    async def checked(call: Call) -> Answer:
        if call.version >= GONE:
            raise not_found()
        return await handler(call)

    return checked


def _check_addresses(call: Call) -> None:
    if call.version >= ACTIONS_GONE:
        raise bad_request("There is no such action: it ended with microversion 2.43; use the network service.")


def _group_entry(document: View) -> View:
    given = only(member(only(document, ("security_group",)), "security_group"), ("name", "description"), "security_group")
    name = member(given, "name")
    fields.server_name("name", name)  # which is not blank; spaces around it belong to it
    description = fields.nullable(fields.text())("description", given.get("description"))
    return {"name": name, "description": description or ""}


def _rule_entry(given: View, parent: str) -> View:
    protocol = given.get("ip_protocol")
    rule: View = {"security_group_id": parent, "direction": "ingress", "ethertype": "IPv4"}
    if given.get("group_id") is not None:
        rule["remote_group_id"] = fields.uuid("group_id", given["group_id"])
    else:
        rule["remote_ip_prefix"] = given.get("cidr") or ANYWHERE
        if ":" in str(rule["remote_ip_prefix"]):
            rule["ethertype"] = "IPv6"
    if protocol is None and "group_id" in given and given.get("from_port") is None:
        return rule
    rule["protocol"] = fields.one_of(*PROTOCOLS)("ip_protocol", str(protocol).lower())
    first, last = (fields.integer(-1, MAX_PORT)(name, given.get(name)) for name in ("from_port", "to_port"))
    if (first > last and protocol != "icmp") or (first < 0 and protocol != "icmp"):
        raise bad_request(f"Invalid port range {first}:{last}. Valid TCP ports should be between 1-65535")
    if first >= 0:
        rule["port_range_min"] = first
    if last >= 0:
        rule["port_range_max"] = last
    return rule


def _group_view(group: View, names: dict[str, View]) -> View:
    rules = [_rule_view(rule, names) for rule in group.get("security_group_rules", ()) if rule["direction"] == "ingress"]
    return {
        "id": group["id"],
        "name": group["name"],
        "description": group.get("description") or "",
        "tenant_id": group["tenant_id"],
        "rules": rules,
    }


def _rule_view(rule: View, names: dict[str, View]) -> View:
    view: View = {
        "id": rule["id"], "parent_group_id": rule["security_group_id"], "from_port": rule.get("port_range_min"), "to_port": rule.get("port_range_max"),
        "ip_protocol": rule.get("protocol"), "group": {}, "ip_range": {},
    }  # fmt: skip
    if rule.get("protocol") is not None and view["from_port"] is None:
        view |= {"from_port": -1, "to_port": -1} if rule["protocol"] == "icmp" else {"from_port": 1, "to_port": MAX_PORT}
    remote = rule.get("remote_group_id")
    if remote:
        group = names.get(remote)
        view["group"] = {"name": group["name"], "tenant_id": group["tenant_id"]} if group else {}
    else:
        view["ip_range"] = {"cidr": rule.get("remote_ip_prefix") or (ANYWHERE if rule.get("ethertype") != "IPv6" else "::/0")}
    return view


def _address_view(address: View, pools: dict[str, str], servers: dict[str, str]) -> View:
    network = address["floating_network_id"]
    return {
        "id": address["id"], "ip": address["floating_ip_address"], "pool": pools.get(network) or network, "fixed_ip": address.get("fixed_ip_address"),
        "instance_id": servers.get(address.get("port_id") or ""),
    }  # fmt: skip


def _tenant_view(network: View) -> View:
    return {"id": network["id"], "label": network["name"], "cidr": None}
