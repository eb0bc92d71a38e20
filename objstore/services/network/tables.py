"""Tables of the network service.  Times are microseconds since 1970; lists and objects are JSON in TEXT; what is not set is NULL.

`project` is who a thing belongs to.  Every resource has the first eight columns.  `net_addresses` is the truth of who has which
address: its key makes a second owner impossible, whatever raced.
"""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

from objstore.services.tables.migrations import Schema

SERVICE = "network"
_META = MetaData()


def _resource(name: str, *columns: Column[object]) -> Table:
    """A table with what all resources have: `revision` counts the changes of a row."""
    return Table(
        name,
        _META,
        Column("id", Text, primary_key=True),
        Column("project", Text),
        Column("name", Text),
        Column("description", Text),
        Column("created_us", BigInteger),
        Column("updated_us", BigInteger),
        Column("revision", BigInteger),
        *columns,
    )


NETWORKS = _resource(
    "net_networks",
    Column("admin_state_up", Boolean),
    Column("external", Boolean),
    Column("is_default", Boolean),
    Column("mtu", BigInteger),
    Column("port_security_enabled", Boolean),
    Column("dns_domain", Text),
    Column("number", BigInteger, unique=True),  # of the segment, also the VXLAN id; from net_numbers
    Column("network_type", Text),  # vxlan, flat
    Column("physical_network", Text),
    Column("hints", Text),  # availability zones
)
SUBNETS = _resource(
    "net_subnets",
    Column("network_id", Text),
    Column("ip_version", BigInteger),
    Column("cidr", Text),
    Column("gateway_ip", Text),
    Column("enable_dhcp", Boolean),
    Column("allocation_pools", Text),
    Column("dns_nameservers", Text),
    Column("host_routes", Text),
    Column("ipv6_ra_mode", Text),
    Column("ipv6_address_mode", Text),
    Column("subnetpool_id", Text),
    Column("service_types", Text),
)
POOLS = _resource(
    "net_subnetpools",
    Column("ip_version", BigInteger),
    Column("prefixes", Text),
    Column("min_prefixlen", BigInteger),
    Column("max_prefixlen", BigInteger),
    Column("default_prefixlen", BigInteger),
    Column("default_quota", BigInteger),
    Column("is_default", Boolean),
    Column("address_scope_id", Text),
)
SCOPES = _resource("net_address_scopes", Column("ip_version", BigInteger))
PORTS = _resource(
    "net_ports",
    Column("network_id", Text),
    Column("mac_address", Text),  # unique in its network
    Column("admin_state_up", Boolean),
    Column("status", Text),  # DOWN, BUILD, ACTIVE
    Column("device_id", Text),
    Column("device_owner", Text),
    Column("host", Text),  # that the port is bound to, "" none
    Column("vnic_type", Text),
    Column("profile", Text),
    Column("port_security_enabled", Boolean),
    Column("allowed_address_pairs", Text),
    Column("extra_dhcp_opts", Text),
    Column("dns_name", Text),
    Column("dns_domain", Text),
    Column("made", Boolean),  # by compute, for a server: it goes with the server
    Column("server", Text),  # that compute gave the port to, "" none; device_id says what clients say
)
ADDRESSES = Table(
    "net_addresses",
    _META,
    Column("network", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("subnet", Text),
    Column("port", Text),
    Column("position", BigInteger),  # in the port's list
)
PORT_GROUPS = Table("net_port_groups", _META, Column("port", Text, primary_key=True), Column("security_group", Text, primary_key=True))
ROUTERS = _resource(
    "net_routers",
    Column("admin_state_up", Boolean),
    Column("number", BigInteger, unique=True),  # from net_numbers
    Column("gateway_port", Text),
    Column("gateway_network", Text),
    Column("enable_snat", Boolean),
    Column("routes", Text),
    Column("hints", Text),
    Column("host", Text),  # where it routes, "" nowhere
)
FLOATINGS = _resource(
    "net_floatingips",
    Column("floating_network_id", Text),
    Column("floating_ip_address", Text),
    Column("floating_port_id", Text),
    Column("port_id", Text),
    Column("fixed_ip_address", Text),
    Column("router_id", Text),
    Column("dns_name", Text),
    Column("dns_domain", Text),
)
GROUPS = _resource("net_security_groups")
DEFAULT_GROUPS = Table("net_default_groups", _META, Column("project", Text, primary_key=True), Column("security_group", Text))
RULES = _resource(
    "net_security_group_rules",
    Column("security_group_id", Text),
    Column("direction", Text),
    Column("ethertype", Text),
    Column("protocol", Text),
    Column("port_range_min", BigInteger),
    Column("port_range_max", BigInteger),
    Column("remote_ip_prefix", Text),
    Column("remote_group_id", Text),
)
RBAC = _resource(
    "net_rbac_policies", Column("object_type", Text), Column("object_id", Text), Column("action", Text), Column("target", Text)
)
TAGS = Table("net_tags", _META, Column("resource", Text, primary_key=True), Column("tag", Text, primary_key=True))
QUOTAS = Table(
    "net_quotas",
    _META,
    Column("project", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("most", BigInteger),  # -1: no limit
)
# Numbers of networks and routers: one space, since interfaces on hosts are named by them.
NUMBERS = Table("net_numbers", _META, Column("number", BigInteger, primary_key=True), Column("resource", Text))
COUNTERS = Table("net_counters", _META, Column("name", Text, primary_key=True), Column("value", BigInteger))
HOSTS = Table(
    "net_hosts",
    _META,
    Column("host", Text, primary_key=True),
    Column("tunnel_address", Text),  # "" for a host without tunnels
    Column("driver", Text),
    Column("routes", Boolean),  # whether routers may be placed here: the driver can, and the host is up
)
TABLES = _META

_ALL = (
    "id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, created_us BIGINT NOT NULL, "
    "updated_us BIGINT NOT NULL, revision BIGINT NOT NULL"
)

SCHEMA = Schema(
    SERVICE,
    (
        (
            f"CREATE TABLE net_networks ({_ALL}, admin_state_up BOOLEAN NOT NULL, external BOOLEAN NOT NULL, is_default BOOLEAN NOT NULL, "
            "mtu BIGINT NOT NULL, port_security_enabled BOOLEAN NOT NULL, dns_domain TEXT NOT NULL, number BIGINT NOT NULL UNIQUE, "
            "network_type TEXT NOT NULL, physical_network TEXT, hints TEXT NOT NULL)",
            "CREATE INDEX net_networks_by_project ON net_networks (project)",
            f"CREATE TABLE net_subnets ({_ALL}, network_id TEXT NOT NULL, ip_version BIGINT NOT NULL, cidr TEXT NOT NULL, gateway_ip TEXT, "
            "enable_dhcp BOOLEAN NOT NULL, allocation_pools TEXT NOT NULL, dns_nameservers TEXT NOT NULL, host_routes TEXT NOT NULL, "
            "ipv6_ra_mode TEXT, ipv6_address_mode TEXT, subnetpool_id TEXT, service_types TEXT NOT NULL)",
            "CREATE INDEX net_subnets_by_network ON net_subnets (network_id)",
            "CREATE INDEX net_subnets_by_project ON net_subnets (project)",
            "CREATE INDEX net_subnets_by_pool ON net_subnets (subnetpool_id)",
            f"CREATE TABLE net_subnetpools ({_ALL}, ip_version BIGINT NOT NULL, prefixes TEXT NOT NULL, min_prefixlen BIGINT NOT NULL, "
            "max_prefixlen BIGINT NOT NULL, default_prefixlen BIGINT NOT NULL, default_quota BIGINT, is_default BOOLEAN NOT NULL, "
            "address_scope_id TEXT)",
            "CREATE INDEX net_subnetpools_by_project ON net_subnetpools (project)",
            f"CREATE TABLE net_address_scopes ({_ALL}, ip_version BIGINT NOT NULL)",
            f"CREATE TABLE net_ports ({_ALL}, network_id TEXT NOT NULL, mac_address TEXT NOT NULL, admin_state_up BOOLEAN NOT NULL, "
            "status TEXT NOT NULL, device_id TEXT NOT NULL, device_owner TEXT NOT NULL, host TEXT NOT NULL, vnic_type TEXT NOT NULL, "
            "profile TEXT NOT NULL, port_security_enabled BOOLEAN NOT NULL, allowed_address_pairs TEXT NOT NULL, extra_dhcp_opts TEXT NOT NULL, "
            "dns_name TEXT NOT NULL, dns_domain TEXT NOT NULL, made BOOLEAN NOT NULL, UNIQUE (network_id, mac_address))",
            "CREATE INDEX net_ports_by_project ON net_ports (project)",
            "CREATE INDEX net_ports_by_device ON net_ports (device_id)",
            "CREATE INDEX net_ports_by_host ON net_ports (host)",
            "CREATE TABLE net_addresses (network TEXT NOT NULL, address TEXT NOT NULL, subnet TEXT NOT NULL, port TEXT NOT NULL, "
            "position BIGINT NOT NULL, PRIMARY KEY (network, address))",
            "CREATE INDEX net_addresses_by_port ON net_addresses (port)",
            "CREATE INDEX net_addresses_by_subnet ON net_addresses (subnet)",
            "CREATE TABLE net_port_groups (port TEXT NOT NULL, security_group TEXT NOT NULL, PRIMARY KEY (port, security_group))",
            "CREATE INDEX net_port_groups_by_group ON net_port_groups (security_group)",
            f"CREATE TABLE net_routers ({_ALL}, admin_state_up BOOLEAN NOT NULL, number BIGINT NOT NULL UNIQUE, gateway_port TEXT, "
            "gateway_network TEXT, enable_snat BOOLEAN NOT NULL, routes TEXT NOT NULL, hints TEXT NOT NULL, host TEXT NOT NULL)",
            "CREATE INDEX net_routers_by_project ON net_routers (project)",
            "CREATE INDEX net_routers_by_host ON net_routers (host)",
            f"CREATE TABLE net_floatingips ({_ALL}, floating_network_id TEXT NOT NULL, floating_ip_address TEXT NOT NULL, "
            "floating_port_id TEXT NOT NULL, port_id TEXT, fixed_ip_address TEXT, router_id TEXT, dns_name TEXT NOT NULL, "
            "dns_domain TEXT NOT NULL, UNIQUE (port_id, fixed_ip_address, floating_network_id))",
            "CREATE INDEX net_floatingips_by_project ON net_floatingips (project)",
            "CREATE INDEX net_floatingips_by_router ON net_floatingips (router_id)",
            f"CREATE TABLE net_security_groups ({_ALL})",
            "CREATE INDEX net_security_groups_by_project ON net_security_groups (project)",
            "CREATE TABLE net_default_groups (project TEXT PRIMARY KEY, security_group TEXT NOT NULL)",
            f"CREATE TABLE net_security_group_rules ({_ALL}, security_group_id TEXT NOT NULL, direction TEXT NOT NULL, ethertype TEXT NOT NULL, "
            "protocol TEXT, port_range_min BIGINT, port_range_max BIGINT, remote_ip_prefix TEXT, remote_group_id TEXT)",
            "CREATE INDEX net_security_group_rules_by_group ON net_security_group_rules (security_group_id)",
            "CREATE INDEX net_security_group_rules_by_project ON net_security_group_rules (project)",
            "CREATE INDEX net_security_group_rules_by_remote ON net_security_group_rules (remote_group_id)",
            f"CREATE TABLE net_rbac_policies ({_ALL}, object_type TEXT NOT NULL, object_id TEXT NOT NULL, action TEXT NOT NULL, "
            "target TEXT NOT NULL, UNIQUE (object_id, action, target))",
            "CREATE TABLE net_tags (resource TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (resource, tag))",
            "CREATE INDEX net_tags_by_tag ON net_tags (tag)",
            "CREATE TABLE net_quotas (project TEXT NOT NULL, resource TEXT NOT NULL, most BIGINT NOT NULL, PRIMARY KEY (project, resource))",
            "CREATE TABLE net_numbers (number BIGINT PRIMARY KEY, resource TEXT NOT NULL)",
            "CREATE TABLE net_counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
            "CREATE TABLE net_hosts (host TEXT PRIMARY KEY, tunnel_address TEXT NOT NULL, driver TEXT NOT NULL, routes BOOLEAN NOT NULL)",
        ),
        (
            "ALTER TABLE net_ports ADD COLUMN server TEXT NOT NULL DEFAULT ''",
            "UPDATE net_ports SET server = device_id WHERE made",
            "CREATE INDEX net_ports_by_server ON net_ports (server)",
        ),
    ),
)
