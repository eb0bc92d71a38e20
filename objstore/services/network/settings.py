"""Settings of the network service."""

import re

import msgspec


class NetworkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[network]` section.  Quotas of -1 are none."""

    mtu: int = 1500  # of the wire between hosts; networks of projects have 50 bytes less, which their tunnels take
    mac_prefix: str = "fa:16:3e"  # three bytes
    dns_domain: str = "openstacklocal"
    dns_servers: tuple[str, ...] = ()  # told to guests whose subnets name none
    availability_zone: str = "nova"
    page_limit: int = 1000
    quota_network: int = 100  # of a project, unless the administrator gave it another
    quota_subnet: int = 100
    quota_subnetpool: int = 50
    quota_port: int = 500
    quota_router: int = 10
    quota_floatingip: int = 50
    quota_security_group: int = 10
    quota_security_group_rule: int = 100
    quota_rbac_policy: int = 10
    max_bulk: int = 100  # things in one request
    max_fixed_ips: int = 5  # of a port
    max_pairs: int = 10  # allowed address pairs of a port
    max_groups: int = 20  # security groups of a port
    max_dns_servers: int = 5  # of a subnet
    max_routes: int = 30  # of a subnet, of a router
    max_pools: int = 20  # allocation pools of a subnet
    max_tags: int = 50
    max_options: int = 20  # DHCP options of a port

    def __post_init__(self) -> None:
        if re.fullmatch(r"[0-9a-f][02468ace](:[0-9a-f]{2}){2}", self.mac_prefix) is None:
            raise ValueError("network.mac_prefix is three bytes in hexadecimal, such as fa:16:3e, of an address of one device")
