"""Tables of the image service.  Times are microseconds since 1970; what has not happened is NULL.

A deleted image keeps its row: an id that was public once must never name the bytes of somebody else.
"""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Table, Text

from objstore.services.tables.migrations import Schema

SERVICE = "image"
_META = MetaData()

IMAGES = Table(
    "images",
    _META,
    Column("id", Text, primary_key=True),
    Column("owner", Text),  # a project
    Column("status", Text),
    Column("visibility", Text),
    Column("name", Text),
    Column("container_format", Text),
    Column("disk_format", Text),
    Column("min_disk", BigInteger),  # GiB
    Column("min_ram", BigInteger),  # MiB
    Column("protected", Boolean),
    Column("os_hidden", Boolean),
    Column("size", BigInteger),
    Column("virtual_size", BigInteger),
    Column("checksum", Text),
    Column("os_hash_algo", Text),
    Column("os_hash_value", Text),
    Column("body", Text),  # where its bytes are
    Column("staged", Text),  # bytes that wait for an import
    Column("operation", Text),  # the upload that writes it; "" none
    Column("operation_until_us", BigInteger),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
    Column("deleted_us", BigInteger),
)
PROPERTIES = Table(
    "image_properties",
    _META,
    Column("image", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text),
)
TAGS = Table("image_tags", _META, Column("image", Text, primary_key=True), Column("tag", Text, primary_key=True))
MEMBERS = Table(
    "image_members",
    _META,
    Column("image", Text, primary_key=True),
    Column("member", Text, primary_key=True),
    Column("status", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
# An object of the service's bucket.  Several images may name one; it goes when none does.
BODIES = Table(
    "image_bodies",
    _META,
    Column("id", Text, primary_key=True),
    Column("status", Text),  # coming, whole, going
    Column("project", Text),  # whose quota it counts for while it is coming
    Column("size", BigInteger),  # while it is coming: what was announced
    Column("checksum", Text),
    Column("sha512", Text),
    Column("format", Text),  # what the bytes were found to be
    Column("virtual_size", BigInteger),
    Column("until_us", BigInteger),  # coming: dead when nobody renews it
    Column("created_us", BigInteger),
)
TASKS = Table(
    "image_tasks",
    _META,
    Column("id", Text, primary_key=True),
    Column("type", Text),
    Column("status", Text),  # pending, processing, success, failure
    Column("owner", Text),
    Column("user_id", Text),
    Column("image", Text),
    Column("request_id", Text),
    Column("input", Text),  # JSON
    Column("result", Text),  # JSON
    Column("message", Text),
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
    Column("expires_us", BigInteger),
)
# Definitions of metadata: what properties mean, for those who fill in forms.
NAMESPACES = Table(
    "image_namespaces",
    _META,
    Column("namespace", Text, primary_key=True),
    Column("owner", Text),
    Column("visibility", Text),
    Column("protected", Boolean),
    Column("document", Text),  # JSON: the other attributes
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
DEFINITIONS = Table(
    "image_definitions",
    _META,
    Column("namespace", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("document", Text),  # JSON
    Column("created_us", BigInteger),
    Column("updated_us", BigInteger),
)
TABLES = _META

SCHEMA = Schema(
    SERVICE,
    (
        (
            "CREATE TABLE images (id TEXT PRIMARY KEY, owner TEXT NOT NULL, status TEXT NOT NULL, visibility TEXT NOT NULL, name TEXT, "
            "container_format TEXT, disk_format TEXT, min_disk BIGINT NOT NULL, min_ram BIGINT NOT NULL, protected BOOLEAN NOT NULL, "
            "os_hidden BOOLEAN NOT NULL, size BIGINT, virtual_size BIGINT, checksum TEXT, os_hash_algo TEXT, os_hash_value TEXT, body TEXT, "
            "staged TEXT, operation TEXT NOT NULL, operation_until_us BIGINT NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, "
            "deleted_us BIGINT)",
            "CREATE INDEX images_by_owner ON images (owner, created_us)",
            "CREATE INDEX images_by_visibility ON images (visibility, created_us)",
            "CREATE INDEX images_by_body ON images (body)",
            "CREATE INDEX images_by_operation ON images (operation_until_us)",
            "CREATE TABLE image_properties (image TEXT NOT NULL, name TEXT NOT NULL, value TEXT, PRIMARY KEY (image, name))",
            "CREATE INDEX image_properties_by_name ON image_properties (name, value)",
            "CREATE TABLE image_tags (image TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (image, tag))",
            "CREATE INDEX image_tags_by_tag ON image_tags (tag)",
            "CREATE TABLE image_members (image TEXT NOT NULL, member TEXT NOT NULL, status TEXT NOT NULL, created_us BIGINT NOT NULL, "
            "updated_us BIGINT NOT NULL, PRIMARY KEY (image, member))",
            "CREATE INDEX image_members_by_member ON image_members (member, status)",
            "CREATE TABLE image_bodies (id TEXT PRIMARY KEY, status TEXT NOT NULL, project TEXT NOT NULL, size BIGINT NOT NULL, checksum TEXT NOT NULL, "
            "sha512 TEXT NOT NULL, format TEXT NOT NULL, virtual_size BIGINT, until_us BIGINT NOT NULL, created_us BIGINT NOT NULL)",
            "CREATE INDEX image_bodies_by_hash ON image_bodies (sha512)",
            "CREATE INDEX image_bodies_by_status ON image_bodies (status, until_us)",
            "CREATE TABLE image_tasks (id TEXT PRIMARY KEY, type TEXT NOT NULL, status TEXT NOT NULL, owner TEXT NOT NULL, user_id TEXT NOT NULL, "
            "image TEXT NOT NULL, request_id TEXT NOT NULL, input TEXT NOT NULL, result TEXT NOT NULL, message TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, expires_us BIGINT NOT NULL)",
            "CREATE INDEX image_tasks_by_image ON image_tasks (image, created_us)",
        ),
        (
            "CREATE TABLE image_namespaces (namespace TEXT PRIMARY KEY, owner TEXT NOT NULL, visibility TEXT NOT NULL, protected BOOLEAN NOT NULL, "
            "document TEXT NOT NULL, created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL)",
            "CREATE TABLE image_definitions (namespace TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, updated_us BIGINT NOT NULL, PRIMARY KEY (namespace, kind, name))",
        ),
    ),
)
