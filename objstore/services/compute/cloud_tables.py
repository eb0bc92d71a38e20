"""Tables of what the compute service has besides servers: hosts, what is claimed on them, flavors, keys, groups, quotas, aggregates, consoles.

Times are microseconds since 1970.
"""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

from objstore.services.tables.migrations import Schema

SERVICE = "compute_cloud"  # beside the tables of servers
_META = MetaData()

HOSTS = Table(
    "compute_hosts",
    _META,
    Column("host", Text, primary_key=True),
    Column("number", BigInteger),  # small numbers are what old clients know hosts by
    Column("hypervisor", Text),  # the id as a hypervisor
    Column("service", Text),  # the id as a service
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),  # by an administrator
    Column("reported_us", BigInteger),
    Column("booted_us", BigInteger),  # when its boot was first heard of
    Column("report", Text),  # JSON: agent_api.Report
    Column("disabled", Boolean),
    Column("disabled_reason", Text),
    Column("forced_down", Boolean),
    Column("down_told", Boolean),  # that it is down was acted upon
)
# What servers take of hosts.  A server that moves has two.
ALLOCATIONS = Table(
    "compute_allocations",
    _META,
    Column("server", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("vcpus", BigInteger),
    Column("memory_mb", BigInteger),
    Column("created_us", BigInteger),
)
FLAVORS = Table(
    "compute_flavors",
    _META,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("description", Text),
    Column("vcpus", BigInteger),
    Column("ram_mb", BigInteger),
    Column("disk_gb", BigInteger),
    Column("ephemeral_gb", BigInteger),
    Column("swap_mb", BigInteger),
    Column("rxtx_factor", Text),
    Column("is_public", Boolean),
    Column("extra_specs", Text),  # JSON
    Column("created_us", BigInteger),
)
FLAVOR_ACCESS = Table("compute_flavor_access", _META, Column("flavor", Text, primary_key=True), Column("project", Text, primary_key=True))
KEYPAIRS = Table(
    "compute_keypairs",
    _META,
    Column("user_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", BigInteger),
    Column("type", Text),
    Column("fingerprint", Text),
    Column("public_key", Text),
    Column("created_us", BigInteger),
)
GROUPS = Table(
    "compute_server_groups",
    _META,
    Column("id", Text, primary_key=True),
    Column("project", Text),
    Column("user_id", Text),
    Column("name", Text),
    Column("policy", Text),
    Column("rules", Text),  # JSON
    Column("created_us", BigInteger),
)
# Limits that differ from the settings'; user_id "" is the whole project; project "class:default" is everybody's default.
QUOTAS = Table(
    "compute_quotas",
    _META,
    Column("project", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("hard_limit", BigInteger),
)
AGGREGATES = Table(
    "compute_aggregates",
    _META,
    Column("id", BigInteger, primary_key=True),
    Column("uuid", Text),
    Column("name", Text),
    Column("metadata", Text),  # JSON; availability_zone is among it
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
AGGREGATE_HOSTS = Table(
    "compute_aggregate_hosts", _META, Column("aggregate", BigInteger, primary_key=True), Column("host", Text, primary_key=True)
)
CONSOLES = Table(
    "compute_consoles",
    _META,
    Column("token_hash", Text, primary_key=True),
    Column("server", Text),
    Column("kind", Text),  # serial, vnc
    Column("expires_us", BigInteger),
)
TABLES = _META

SCHEMA = Schema(
    SERVICE,
    (
        (
            "CREATE TABLE compute_hosts (host TEXT PRIMARY KEY, number BIGINT NOT NULL, hypervisor TEXT NOT NULL, service TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, reported_us BIGINT NOT NULL, booted_us BIGINT NOT NULL, report TEXT NOT NULL, "
            "disabled BOOLEAN NOT NULL, disabled_reason TEXT, forced_down BOOLEAN NOT NULL, down_told BOOLEAN NOT NULL)",
            "CREATE TABLE compute_allocations (server TEXT NOT NULL, host TEXT NOT NULL, vcpus BIGINT NOT NULL, "
            "memory_mb BIGINT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (server, host))",
            "CREATE INDEX compute_allocations_by_host ON compute_allocations (host)",
            "CREATE TABLE compute_flavors (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, vcpus BIGINT NOT NULL, "
            "ram_mb BIGINT NOT NULL, disk_gb BIGINT NOT NULL, ephemeral_gb BIGINT NOT NULL, swap_mb BIGINT NOT NULL, rxtx_factor TEXT NOT NULL, "
            "is_public BOOLEAN NOT NULL, extra_specs TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE TABLE compute_flavor_access (flavor TEXT NOT NULL, project TEXT NOT NULL, PRIMARY KEY (flavor, project))",
            "CREATE TABLE compute_keypairs (user_id TEXT NOT NULL, name TEXT NOT NULL, number BIGINT NOT NULL, type TEXT NOT NULL, "
            "fingerprint TEXT NOT NULL, public_key TEXT NOT NULL, created_us BIGINT NOT NULL, PRIMARY KEY (user_id, name))",
            "CREATE TABLE compute_server_groups (id TEXT PRIMARY KEY, project TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, "
            "policy TEXT NOT NULL, rules TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX compute_server_groups_by_project ON compute_server_groups (project, created_us)",
            "CREATE TABLE compute_quotas (project TEXT NOT NULL, user_id TEXT NOT NULL, resource TEXT NOT NULL, hard_limit BIGINT NOT NULL, "
            "PRIMARY KEY (project, user_id, resource))",
            "CREATE TABLE compute_aggregates (id BIGINT PRIMARY KEY, uuid TEXT NOT NULL, name TEXT NOT NULL UNIQUE, metadata TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE TABLE compute_aggregate_hosts (aggregate BIGINT NOT NULL, host TEXT NOT NULL, PRIMARY KEY (aggregate, host))",
            "CREATE TABLE compute_consoles (token_hash TEXT PRIMARY KEY, server TEXT NOT NULL, kind TEXT NOT NULL, expires_us BIGINT NOT NULL)",
        ),
    ),
)
