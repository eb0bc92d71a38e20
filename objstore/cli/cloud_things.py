"""What a new cloud has in it, so that its first server is one command away: flavors, an image, networks, a key.

All of it is made over the services' own APIs, as the administrator, and only what is not there yet (by name): what somebody changed or took away
on purpose after the first time is found changed, or made again by the next `objstore cloud up`.
"""

from collections.abc import Mapping
from typing import Any

from objstore.cli.cloud_api import CloudApi, CloudError, wait
from objstore.cli.cloud_guest import tiny_image

# name -> (id, MiB of memory, processors, GiB of disk; 0: as large as the image).  The first two are for the images of our own; the rest are what everybody has.
FLAVORS: Mapping[str, tuple[str, int, int, int]] = {
    "m1.nano": ("42", 64, 1, 0),
    "m1.micro": ("84", 256, 1, 1),
    "m1.tiny": ("1", 512, 1, 1),
    "m1.small": ("2", 2048, 1, 20),
    "m1.medium": ("3", 4096, 2, 40),
    "m1.large": ("4", 8192, 4, 80),
}
TINY = "tiny"
TINY_MEMORY_MB = 16
PUBLIC, PRIVATE, ROUTER = "public", "private", "router"
PUBLIC_RANGE, PRIVATE_RANGE = "172.24.4.0/24", "10.77.0.0/24"
NAME_SERVER = "9.9.9.9"
KEY_NAME = "objstore"
# What the default security group of the administrator's project lets in: that a guest is there, and logging in to it.
OPEN = (("icmp", None), ("tcp", 22))
HOSTS_TIMEOUT_S = 60.0
IMAGE_TIMEOUT_S = 60.0


def make_things(api: CloudApi, *, public_key: str) -> list[str]:
    """Make what is not there; what was made, in words.  Raises CloudError."""
    made = [*_flavors(api), *_tiny(api), *_networks(api), *_rules(api)]
    keys = [entry["keypair"]["name"] for entry in api.ask("GET", "compute", "/os-keypairs")["keypairs"]]
    if KEY_NAME not in keys:
        api.ask("POST", "compute", "/os-keypairs", {"keypair": {"name": KEY_NAME, "public_key": public_key}})
        made.append(f"key pair {KEY_NAME}")
    return made


def wait_for_hosts(api: CloudApi, count: int) -> None:
    """Return when so many hosts of guests have reported.  Raises CloudError."""

    def look() -> bool | None:
        services = api.ask("GET", "compute", "/os-services?binary=nova-compute")["services"]
        return True if sum(1 for service in services if service["state"] == "up") >= count else None

    wait(look, what=f"{count} hosts of guests to report", timeout_s=HOSTS_TIMEOUT_S)


def upload(api: CloudApi, name: str, data: bytes, **properties: Any) -> str:
    """A public raw image; its id, when it can be used.  Raises CloudError."""
    fields = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public", **properties}
    image = str(api.ask("POST", "image", "/v2/images", fields)["id"])
    api.ask("PUT", "image", f"/v2/images/{image}/file", data)

    def look() -> bool | None:
        return True if api.ask("GET", "image", f"/v2/images/{image}")["status"] == "active" else None

    wait(look, what=f"image {name} to become active", timeout_s=IMAGE_TIMEOUT_S)
    return image


def find_image(api: CloudApi, name: str) -> dict[str, Any] | None:
    """A public image that can be used.  Raises CloudError."""
    return api.find("image", f"/v2/images?name={name}&visibility=public", "images", status="active")


def _flavors(api: CloudApi) -> list[str]:
    there = {flavor["name"] for flavor in api.ask("GET", "compute", "/flavors")["flavors"]}
    made = []
    for name, (id_, memory_mb, vcpus, disk_gb) in FLAVORS.items():
        if name in there:
            continue
        flavor = {"name": name, "id": id_, "ram": memory_mb, "vcpus": vcpus, "disk": disk_gb}
        try:
            api.ask("POST", "compute", "/flavors", {"flavor": flavor})
        except CloudError as refused:
            if refused.status != 409:  # somebody has that id under another name
                raise
            api.ask("POST", "compute", "/flavors", {"flavor": {**flavor, "id": None}})
        made.append(f"flavor {name}")
    return made


def _tiny(api: CloudApi) -> list[str]:
    if find_image(api, TINY) is not None:
        return []
    upload(api, TINY, tiny_image(), min_ram=TINY_MEMORY_MB)
    return [f"image {TINY}"]


def _networks(api: CloudApi) -> list[str]:
    made: list[str] = []
    public = _ensure(api, made, "network", PUBLIC, {"router:external": True})
    _ensure(
        api, made, "subnet", PUBLIC, {"network_id": public["id"], "ip_version": 4, "cidr": PUBLIC_RANGE, "enable_dhcp": False},
    )  # fmt: skip
    private = _ensure(api, made, "network", PRIVATE, {})
    subnet = _ensure(
        api, made, "subnet", PRIVATE,
        {"network_id": private["id"], "ip_version": 4, "cidr": PRIVATE_RANGE, "dns_nameservers": [NAME_SERVER]},
    )  # fmt: skip
    router = _ensure(api, made, "router", ROUTER, {"external_gateway_info": {"network_id": public["id"]}})
    ports = api.ask("GET", "network", f"/v2.0/ports?device_id={router['id']}&network_id={private['id']}")["ports"]
    if not ports:
        api.ask("PUT", "network", f"/v2.0/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    return made


def _ensure(api: CloudApi, made: list[str], kind: str, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The thing of the network service with that name in the administrator's project; made, and noted, where there is none."""
    path = f"/v2.0/{kind}s"
    found = api.find("network", f"{path}?name={name}&project_id={api.project_id}", f"{kind}s", name=name)
    if found is None:
        found = dict(api.ask("POST", "network", path, {kind: {"name": name, **fields}})[kind])
        made.append(f"{kind} {name}")
    return found


def _rules(api: CloudApi) -> list[str]:
    group = api.find("network", f"/v2.0/security-groups?name=default&project_id={api.project_id}", "security_groups")
    if group is None:
        raise CloudError("the administrator's project has no default security group")
    made = []
    for protocol, port in OPEN:
        there = any(
            rule["direction"] == "ingress"
            and rule["protocol"] == protocol
            and rule["port_range_min"] == port
            and not rule["remote_group_id"]
            for rule in group["security_group_rules"]
        )
        if not there:
            rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": protocol}
            ports = {} if port is None else {"port_range_min": port, "port_range_max": port}
            api.ask("POST", "network", "/v2.0/security-group-rules", {"security_group_rule": {**rule, **ports}})
            made.append(f"security group default lets in {protocol}{'' if port is None else f' to port {port}'}")
    return made
