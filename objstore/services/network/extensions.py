"""The extensions of Neutron's API that work here, and the documents about the API itself.  What does not work is not named."""

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network.problems import NetworkRefused, shown

V2 = "/v2.0"
UPDATED = "2026-11-23T00:00:00-00:00"
# Alias -> what it is.
EXTENSIONS = {
    "address-scope": "Address scopes of subnet pools",
    "agent": "Hosts that make networks true",
    "allowed-address-pairs": "Further addresses that a port sends from",
    "auto-allocated-topology": "A network and a router for projects that have none",
    "availability_zone": "Availability zones",
    "binding": "Hosts that ports are bound to",
    "default-subnetpools": "Subnet pools for those who name none",
    "dns-domain-ports": "DNS domains of ports",
    "dns-integration": "DNS names of ports",
    "empty-string-filtering": "Filters for empty texts",
    "ext-gw-mode": "Routers with and without address translation",
    "external-net": "External networks",
    "extra_dhcp_opt": "DHCP options of ports",
    "extraroute": "Routes of routers",
    "extraroute-atomic": "Routes of routers, added and taken away one by one",
    "filter-validation": "Filters that are unknown are refused",
    "fip-port-details": "Ports of floating addresses",
    "ip-substring-filtering": "Ports by a part of their addresses",
    "net-mtu": "MTUs of networks",
    "net-mtu-writable": "MTUs of networks can be set",
    "network-ip-availability": "How many addresses are left",
    "network_availability_zone": "Availability zones of networks",
    "pagination": "Lists in pages",
    "port-security": "Ports that may send what they like",
    "project-id": "project_id in resources",
    "provider": "How networks are carried",
    "quota-check-limit": "Quotas that are not below what is used",
    "quota_details": "Quotas and what is used of them",
    "quotas": "Quotas",
    "rbac-address-scope": "Address scopes that are shared with some",
    "rbac-policies": "Things that are shared with some",
    "rbac-security-groups": "Security groups that are shared with some",
    "rbac-subnetpool": "Subnet pools that are shared with some",
    "revision-if-match": "Changes of a known revision only",
    "router": "Routers and floating addresses",
    "router_availability_zone": "Availability zones of routers",
    "security-group": "Security groups",
    "security-groups-normalized-cidr": "Ranges of rules in their normal form",
    "security-groups-shared-filtering": "Security groups by whether they are shared",
    "service-type": "Providers of services",
    "sort-key-validation": "Sort keys that are unknown are refused",
    "sorting": "Lists in order",
    "standard-attr-description": "Descriptions",
    "standard-attr-revisions": "Revisions",
    "standard-attr-tag": "Tags",
    "standard-attr-timestamp": "Times of making and change",
    "subnet-service-types": "Subnets for some owners of ports",
    "subnet_allocation": "Subnets out of pools",
    "tag": "Tags of networks",
    "tag-creation": "Several tags at once",
    "tag-ext": "Tags of other things",
    "tag-ports-during-bulk-creation": "Tags of ports when they are made",
}
CORE = (("network", "networks"), ("subnet", "subnets"), ("subnetpool", "subnetpools"), ("port", "ports"))


def _extension(alias: str) -> dict[str, object]:
    return {"alias": alias, "name": EXTENSIONS[alias], "description": EXTENSIONS[alias], "updated": UPDATED, "links": []}


async def versions(call: Call) -> Answer:
    """The versions of the API."""
    found = {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": f"{call.base_url}{V2}/"}]}
    return Answer(body={"versions": [found]})


async def resources(call: Call) -> Answer:
    """The resources of the version."""
    found = [{"name": name, "collection": many, "links": [{"rel": "self", "href": f"{call.base_url}{V2}/{many}"}]} for name, many in CORE]
    return Answer(body={"resources": found})


async def list_extensions(call: Call) -> Answer:
    """All extensions."""
    return Answer(body={"extensions": [_extension(alias) for alias in sorted(EXTENSIONS)]})


async def show_extension(call: Call) -> Answer:
    """One extension."""
    alias = call.parameters["alias"]
    if alias not in EXTENSIONS:
        raise NetworkRefused(404, "ExtensionNotFound", f"Extension with alias {shown(alias)} does not exist")
    return Answer(body={"extension": _extension(alias)})


OPEN = frozenset((("GET", "/"), ("GET", V2)))
ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/"): versions,
    ("GET", V2): resources,
    ("GET", f"{V2}/extensions"): list_extensions,
    ("GET", f"{V2}/extensions/{{alias}}"): show_extension,
}
