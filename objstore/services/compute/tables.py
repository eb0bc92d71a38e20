"""Tables of servers and of what belongs to them.  Times are microseconds since 1970; what has not happened is NULL, what is not set "".

A deleted server keeps its row, so that administrators can ask for it and its id is never used again; its parts go with it.
"""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

from objstore.services.tables.migrations import Schema

SERVICE = "compute"
_META = MetaData()

SERVERS = Table(
    "servers",
    _META,
    Column("id", Text, primary_key=True),
    Column("project", Text),
    Column("user_id", Text),
    Column("name", Text),
    Column("description", Text),  # NULL: none was given
    Column("hostname", Text),
    Column("vm_state", Text),
    Column("task_state", Text),  # "": nothing is being done
    Column("task", Text),  # the id of the request that holds task_state
    Column("power_state", BigInteger),
    Column("host", Text),  # "" until it is chosen
    Column("zone", Text),  # the availability zone that was asked for
    Column("wanted_host", Text),  # the host that an administrator asked for
    Column("image", Text),  # "" for a server that boots from a volume
    Column("image_document", Text),  # JSON: what of the image's properties matters to guests
    Column("flavor", Text),
    Column("flavor_document", Text),  # JSON: the flavor as it was when the server was made or resized
    Column("other_flavor", Text),  # JSON: while it is resized, the flavor before or after
    Column("other_host", Text),  # while it is moved, the host before or after
    Column("vcpus", BigInteger),
    Column("memory_mb", BigInteger),
    Column("key_name", Text),
    Column("key_document", Text),  # JSON: {"name", "type", "data"}
    Column("user_data", Text),  # base64
    Column("config_drive", Boolean),
    Column("access_v4", Text),
    Column("access_v6", Text),
    Column("security_groups", Text),  # JSON: names or ids for ports that compute makes
    Column("hints", Text),  # JSON: what the scheduler was told
    Column("group_id", Text),
    Column("locked_by", Text),  # "", "owner" or "admin"
    Column("locked_reason", Text),
    Column("disk_config", Text),  # AUTO or MANUAL
    Column("progress", BigInteger),
    Column("reservation", Text),
    Column("launch_index", BigInteger),
    Column("root_device", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
    Column("launched_us", BigInteger),
    Column("terminated_us", BigInteger),
    Column("deleted_us", BigInteger),
)
# A disk of a server.  `volume` is its data in the store; `api_volume` the volume of the volume service that it is, "" for one of compute's own.
DISKS = Table(
    "server_disks",
    _META,
    Column("id", Text, primary_key=True),
    Column("server", Text),
    Column("position", BigInteger),
    Column("state", Text),  # wanted, reserving, releasing, ready, attaching, detaching
    Column("volume", Text),  # 32 hex digits
    Column("api_volume", Text),
    Column("attachment", Text),  # of the volume service
    Column("source", Text),  # image, volume, snapshot, blank
    Column("destination", Text),  # local, volume
    Column("source_id", Text),
    Column("size_gb", BigInteger),
    Column("volume_type", Text),
    Column("device", Text),  # "vda"
    Column("bus", Text),
    Column("boot_index", BigInteger),  # -1: never
    Column("delete_on_termination", Boolean),
    Column("read_only", Boolean),
    Column("tag", Text),
    Column("created_us", BigInteger),
)
NICS = Table(
    "server_nics",
    _META,
    Column("id", Text, primary_key=True),
    Column("server", Text),
    Column("position", BigInteger),
    Column("state", Text),  # wanted, ready, attaching, detaching
    Column("port", Text),  # "" until it is made
    Column("network", Text),
    Column("fixed_ip", Text),  # asked for
    Column("mac", Text),
    Column("made", Boolean),  # compute makes the port, and removes it
    Column("tag", Text),
    Column("created_us", BigInteger),
)
METADATA = Table(
    "server_metadata",
    _META,
    Column("server", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text),
)
TAGS = Table("server_tags", _META, Column("server", Text, primary_key=True), Column("tag", Text, primary_key=True))
FAULTS = Table(
    "server_faults",
    _META,
    Column("server", Text, primary_key=True),  # the last one
    Column("code", BigInteger),
    Column("message", Text),
    Column("details", Text),
    Column("created_us", BigInteger),
)
ACTIONS = Table(
    "server_actions",
    _META,
    Column("server", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("action", Text),
    Column("project", Text),
    Column("user_id", Text),
    Column("message", Text),  # "" or "Error"
    Column("started_us", BigInteger),
    Column("updated_us", BigInteger),
)
EVENTS = Table(
    "server_events",
    _META,
    Column("server", Text, primary_key=True),
    Column("request_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("host", Text),
    Column("result", Text),  # "" while it runs, Success, Error
    Column("details", Text),
    Column("started_us", BigInteger),
    Column("finished_us", BigInteger),
)
MIGRATIONS = Table(
    "server_migrations",
    _META,
    Column("id", Text, primary_key=True),
    Column("number", BigInteger),
    Column("server", Text),
    Column("kind", Text),  # resize, migration, live-migration, evacuation
    Column("status", Text),
    Column("source", Text),  # hosts
    Column("target", Text),
    Column("old_flavor", Text),
    Column("new_flavor", Text),
    Column("project", Text),
    Column("user_id", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
TABLES = _META

SCHEMA = Schema(
    SERVICE,
    (
        (
            "CREATE TABLE servers (id TEXT PRIMARY KEY, project TEXT NOT NULL, user_id TEXT NOT NULL, name TEXT NOT NULL, description TEXT, "
            "hostname TEXT NOT NULL, vm_state TEXT NOT NULL, task_state TEXT NOT NULL, task TEXT NOT NULL, power_state BIGINT NOT NULL, "
            "host TEXT NOT NULL, zone TEXT NOT NULL, wanted_host TEXT NOT NULL, image TEXT NOT NULL, image_document TEXT NOT NULL, "
            "flavor TEXT NOT NULL, flavor_document TEXT NOT NULL, other_flavor TEXT NOT NULL, other_host TEXT NOT NULL, vcpus BIGINT NOT NULL, "
            "memory_mb BIGINT NOT NULL, key_name TEXT NOT NULL, key_document TEXT NOT NULL, user_data TEXT NOT NULL, config_drive BOOLEAN NOT NULL, "
            "access_v4 TEXT NOT NULL, access_v6 TEXT NOT NULL, security_groups TEXT NOT NULL, hints TEXT NOT NULL, group_id TEXT NOT NULL, "
            "locked_by TEXT NOT NULL, locked_reason TEXT NOT NULL, disk_config TEXT NOT NULL, progress BIGINT NOT NULL, reservation TEXT NOT NULL, "
            "launch_index BIGINT NOT NULL, root_device TEXT NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, "
            "launched_us BIGINT, terminated_us BIGINT, deleted_us BIGINT)",
            "CREATE INDEX servers_by_project ON servers (project, created_us)",
            "CREATE INDEX servers_by_host ON servers (host)",
            "CREATE INDEX servers_by_task ON servers (task_state)",
            "CREATE INDEX servers_by_group ON servers (group_id)",
            "CREATE TABLE server_disks (id TEXT PRIMARY KEY, server TEXT NOT NULL, position BIGINT NOT NULL, state TEXT NOT NULL, volume TEXT NOT NULL, "
            "api_volume TEXT NOT NULL, attachment TEXT NOT NULL, source TEXT NOT NULL, destination TEXT NOT NULL, source_id TEXT NOT NULL, "
            "size_gb BIGINT NOT NULL, volume_type TEXT NOT NULL, device TEXT NOT NULL, bus TEXT NOT NULL, boot_index BIGINT NOT NULL, "
            "delete_on_termination BOOLEAN NOT NULL, read_only BOOLEAN NOT NULL, tag TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX server_disks_by_server ON server_disks (server, position)",
            "CREATE INDEX server_disks_by_volume ON server_disks (volume)",
            "CREATE INDEX server_disks_by_api_volume ON server_disks (api_volume)",
            "CREATE TABLE server_nics (id TEXT PRIMARY KEY, server TEXT NOT NULL, position BIGINT NOT NULL, state TEXT NOT NULL, port TEXT NOT NULL, "
            "network TEXT NOT NULL, fixed_ip TEXT NOT NULL, mac TEXT NOT NULL, made BOOLEAN NOT NULL, tag TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX server_nics_by_server ON server_nics (server, position)",
            "CREATE INDEX server_nics_by_port ON server_nics (port)",
            "CREATE TABLE server_metadata (server TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (server, name))",
            "CREATE TABLE server_tags (server TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (server, tag))",
            "CREATE INDEX server_tags_by_tag ON server_tags (tag)",
            "CREATE TABLE server_faults (server TEXT PRIMARY KEY, code BIGINT NOT NULL, message TEXT NOT NULL, details TEXT NOT NULL, "
            "created_us BIGINT NOT NULL)",
            "CREATE TABLE server_actions (server TEXT NOT NULL, request_id TEXT NOT NULL, action TEXT NOT NULL, project TEXT NOT NULL, "
            "user_id TEXT NOT NULL, message TEXT NOT NULL, started_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (server, request_id))",
            "CREATE TABLE server_events (server TEXT NOT NULL, request_id TEXT NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL, result TEXT NOT NULL, "
            "details TEXT NOT NULL, started_us BIGINT NOT NULL, finished_us BIGINT, PRIMARY KEY (server, request_id, name))",
            "CREATE TABLE server_migrations (id TEXT PRIMARY KEY, number BIGINT NOT NULL, server TEXT NOT NULL, kind TEXT NOT NULL, "
            "status TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, old_flavor TEXT NOT NULL, new_flavor TEXT NOT NULL, "
            "project TEXT NOT NULL, user_id TEXT NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE INDEX server_migrations_by_server ON server_migrations (server, number)",
        ),
    ),
)
