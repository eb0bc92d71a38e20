"""Tables of the block storage service.  Times are microseconds since 1970; 0 is never.

Ids are UUIDs with hyphens as clients see them; `data` is a volume of the store, 32 hexadecimal digits.  A volume's data may become
another (it is reverted to a snapshot, or made anew from an image) while snapshots still name the one they were taken of.
"""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

from objstore.services.tables.migrations import Schema

SERVICE = "volume"  # of jobs that take moments
BYTES = "volume-bytes"  # of jobs that move bytes
_META = MetaData()

VOLUMES = Table(
    "volumes",
    _META,
    Column("id", Text, primary_key=True),
    Column("project", Text),
    Column("user_id", Text),
    Column("status", Text),
    Column("name", Text),
    Column("description", Text),
    Column("size_gb", BigInteger),
    Column("data", Text),
    Column("availability_zone", Text),
    Column("bootable", Boolean),
    Column("multiattach", Boolean),
    Column("read_only", Boolean),
    Column("volume_type", Text),  # id of a type
    Column("snapshot_id", Text),  # what it was made from, "" where it was not
    Column("source_volid", Text),
    Column("image_id", Text),
    Column("backup_id", Text),
    Column("before", Text),  # the status that it goes back to
    Column("migration_status", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
SNAPSHOTS = Table(
    "volume_snapshots",
    _META,
    Column("id", Text, primary_key=True),
    Column("volume", Text),
    Column("data", Text),  # that was taken a snapshot of; the snapshot's id there is its id here
    Column("project", Text),
    Column("user_id", Text),
    Column("status", Text),
    Column("name", Text),
    Column("description", Text),
    Column("size_gb", BigInteger),
    Column("progress", Text),
    Column("volume_type", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
ATTACHMENTS = Table(
    "volume_attachments",
    _META,
    Column("id", Text, primary_key=True),
    Column("volume", Text),
    Column("project", Text),
    Column("server", Text),
    Column("host", Text),
    Column("device", Text),
    Column("mode", Text),  # rw, ro
    Column("status", Text),  # reserved, attaching, attached, detaching
    Column("connector", Text),  # JSON
    Column("owner", Text),  # "compute": the compute service made it, and only it ends it; "": a client did
    Column("attached_us", BigInteger),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
# Names with values: of volumes ("volume", "image"), snapshots, backups, attachments, types ("extra") and quality of service ("qos").
PROPERTIES = Table(
    "volume_properties",
    _META,
    Column("owner", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text),
)
TYPES = Table(
    "volume_types",
    _META,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("description", Text),
    Column("is_public", Boolean),
    Column("qos", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
TYPE_ACCESS = Table("volume_type_access", _META, Column("volume_type", Text, primary_key=True), Column("project", Text, primary_key=True))
DEFAULT_TYPES = Table("volume_default_types", _META, Column("project", Text, primary_key=True), Column("volume_type", Text))
QOS = Table(
    "volume_qos",
    _META,
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("consumer", Text),
    Column("created_us", BigInteger),
)
TRANSFERS = Table(
    "volume_transfers",
    _META,
    Column("id", Text, primary_key=True),
    Column("volume", Text),
    Column("project", Text),
    Column("name", Text),
    Column("salt", Text),
    Column("digest", Text),  # of the key, which is told once
    Column("no_snapshots", Boolean),
    Column("destination", Text),
    Column("accepted", Boolean),
    Column("created_us", BigInteger),
)
BACKUPS = Table(
    "volume_backups",
    _META,
    Column("id", Text, primary_key=True),
    Column("project", Text),
    Column("user_id", Text),
    Column("volume", Text),
    Column("snapshot", Text),
    Column("parent", Text),
    Column("status", Text),
    Column("name", Text),
    Column("description", Text),
    Column("size_gb", BigInteger),
    Column("container", Text),
    Column("object_count", BigInteger),
    Column("fail_reason", Text),
    Column("availability_zone", Text),
    Column("data_us", BigInteger),
    Column("restoring", Text),  # the volume that is being restored
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
# Limits of a project, or of a quota class.
QUOTAS = Table(
    "volume_quotas",
    _META,
    Column("kind", Text, primary_key=True),  # project, class
    Column("name", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("limit_value", BigInteger),
)
MESSAGES = Table(
    "volume_messages",
    _META,
    Column("id", Text, primary_key=True),
    Column("project", Text),
    Column("resource_type", Text),
    Column("resource", Text),
    Column("request_id", Text),
    Column("event", Text),
    Column("text", Text),
    Column("created_us", BigInteger),
    Column("expires_us", BigInteger),
)
# Images as volumes of the store, which are cloned.
BASES = Table(
    "volume_bases",
    _META,
    Column("image", Text, primary_key=True),
    Column("data", Text),
    Column("status", Text),  # coming, ready, error, going
    Column("size_bytes", BigInteger),
    Column("message", Text),
    Column("created_us", BigInteger),
)
TABLES = _META

SCHEMA = Schema(
    SERVICE,
    (
        (
            "CREATE TABLE volumes (id TEXT PRIMARY KEY, project TEXT NOT NULL, user_id TEXT NOT NULL, status TEXT NOT NULL, name TEXT, description TEXT, "
            "size_gb BIGINT NOT NULL, data TEXT NOT NULL, availability_zone TEXT NOT NULL, bootable BOOLEAN NOT NULL, multiattach BOOLEAN NOT NULL, "
            "read_only BOOLEAN NOT NULL, volume_type TEXT NOT NULL, snapshot_id TEXT NOT NULL, source_volid TEXT NOT NULL, image_id TEXT NOT NULL, "
            "backup_id TEXT NOT NULL, before TEXT NOT NULL, migration_status TEXT NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE INDEX volumes_by_project ON volumes (project, created_us)",
            "CREATE INDEX volumes_by_created ON volumes (created_us)",
            "CREATE INDEX volumes_by_data ON volumes (data)",
            "CREATE TABLE volume_snapshots (id TEXT PRIMARY KEY, volume TEXT NOT NULL, data TEXT NOT NULL, project TEXT NOT NULL, user_id TEXT NOT NULL, "
            "status TEXT NOT NULL, name TEXT, description TEXT, size_gb BIGINT NOT NULL, progress TEXT NOT NULL, volume_type TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE INDEX volume_snapshots_by_project ON volume_snapshots (project, created_us)",
            "CREATE INDEX volume_snapshots_by_volume ON volume_snapshots (volume)",
            "CREATE INDEX volume_snapshots_by_data ON volume_snapshots (data)",
            "CREATE TABLE volume_attachments (id TEXT PRIMARY KEY, volume TEXT NOT NULL, project TEXT NOT NULL, server TEXT NOT NULL, host TEXT NOT NULL, "
            "device TEXT NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL, connector TEXT NOT NULL, owner TEXT NOT NULL, attached_us BIGINT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE INDEX volume_attachments_by_volume ON volume_attachments (volume)",
            "CREATE INDEX volume_attachments_by_server ON volume_attachments (server)",
            "CREATE TABLE volume_properties (owner TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, "
            "PRIMARY KEY (owner, kind, name))",
            "CREATE INDEX volume_properties_by_name ON volume_properties (kind, name, value)",
            "CREATE TABLE volume_types (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, description TEXT, is_public BOOLEAN NOT NULL, qos TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE TABLE volume_type_access (volume_type TEXT NOT NULL, project TEXT NOT NULL, PRIMARY KEY (volume_type, project))",
            "CREATE TABLE volume_default_types (project TEXT PRIMARY KEY, volume_type TEXT NOT NULL)",
            "CREATE TABLE volume_qos (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, consumer TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE TABLE volume_transfers (id TEXT PRIMARY KEY, volume TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, salt TEXT NOT NULL, "
            "digest TEXT NOT NULL, no_snapshots BOOLEAN NOT NULL, destination TEXT NOT NULL, accepted BOOLEAN NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX volume_transfers_by_volume ON volume_transfers (volume)",
            "CREATE TABLE volume_backups (id TEXT PRIMARY KEY, project TEXT NOT NULL, user_id TEXT NOT NULL, volume TEXT NOT NULL, snapshot TEXT NOT NULL, "
            "parent TEXT NOT NULL, status TEXT NOT NULL, name TEXT, description TEXT, size_gb BIGINT NOT NULL, container TEXT NOT NULL, "
            "object_count BIGINT NOT NULL, fail_reason TEXT NOT NULL, availability_zone TEXT NOT NULL, data_us BIGINT NOT NULL, restoring TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE INDEX volume_backups_by_project ON volume_backups (project, created_us)",
            "CREATE INDEX volume_backups_by_volume ON volume_backups (volume)",
            "CREATE TABLE volume_quotas (kind TEXT NOT NULL, name TEXT NOT NULL, resource TEXT NOT NULL, limit_value BIGINT NOT NULL, "
            "PRIMARY KEY (kind, name, resource))",
            "CREATE TABLE volume_messages (id TEXT PRIMARY KEY, project TEXT NOT NULL, resource_type TEXT NOT NULL, resource TEXT NOT NULL, "
            "request_id TEXT NOT NULL, event TEXT NOT NULL, text TEXT NOT NULL, created_us BIGINT NOT NULL, expires_us BIGINT NOT NULL)",
            "CREATE INDEX volume_messages_by_project ON volume_messages (project, created_us)",
            "CREATE TABLE volume_bases (image TEXT PRIMARY KEY, data TEXT NOT NULL, status TEXT NOT NULL, size_bytes BIGINT NOT NULL, "
            "message TEXT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX volume_bases_by_data ON volume_bases (data)",
        ),
    ),
)
