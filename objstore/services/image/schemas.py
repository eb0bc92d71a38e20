"""JSON schemas of what the service shows; python-glanceclient builds its models from them."""

from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import not_found
from objstore.services.image.formats import CONTAINER_FORMATS, DISK_FORMATS
from objstore.services.image.members import STATUSES as MEMBER_STATUSES
from objstore.services.image.records import STATUSES, VISIBILITIES

Schema = dict[str, Any]
UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"


def _text(description: str, *, null: bool = False, most: int | None = None, **more: Any) -> Schema:
    found: Schema = {"type": ["null", "string"] if null else "string", "description": description, **more}
    return found if most is None else {**found, "maxLength": most}


def _number(description: str, *, null: bool = False, **more: Any) -> Schema:
    return {"type": ["null", "integer"] if null else "integer", "description": description, **more}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _read_only(schema: Schema) -> Schema:
    return {**schema, "readOnly": True}


IMAGE: Schema = {
    "name": "image",
    "properties": {
        "id": _text("An identifier for the image", pattern=UUID),
        "name": _text("Descriptive name for the image", null=True, most=255),
        "status": _read_only(_text("Status of the image", enum=list(STATUSES))),
        "visibility": _text("Scope of image accessibility", enum=list(VISIBILITIES)),
        "protected": _flag("If true, image will not be deletable."),
        "os_hidden": _flag("If true, image will not appear in default image list response."),
        "checksum": _read_only(_text("md5 hash of image contents.", null=True, most=32)),
        "os_hash_algo": _read_only(_text("Algorithm to calculate the os_hash_value", null=True, most=64)),
        "os_hash_value": _read_only(
            _text("Hexdigest of the image contents using the algorithm specified by the os_hash_algo", null=True, most=128)
        ),
        "owner": _text("Owner of the image", null=True, most=255),
        "size": _read_only(_number("Size of image file in bytes", null=True)),
        "virtual_size": _read_only(_number("Virtual size of image in bytes", null=True)),
        "container_format": _text("Format of the container", null=True, enum=[None, *CONTAINER_FORMATS]),
        "disk_format": _text("Format of the disk", null=True, enum=[None, *DISK_FORMATS]),
        "created_at": _read_only(_text("Date and time of image registration")),
        "updated_at": _read_only(_text("Date and time of the last image modification")),
        "tags": {"type": "array", "description": "List of strings related to the image", "items": {"type": "string", "maxLength": 255}},
        "direct_url": _read_only(_text("URL to access the image file kept in external store")),
        "min_ram": _number("Amount of ram (in MB) required to boot image."),
        "min_disk": _number("Amount of disk space (in GB) required to boot image."),
        "self": _read_only(_text("An image self url")),
        "file": _read_only(_text("An image file url")),
        "schema": _read_only(_text("An image schema url")),
        "kernel_id": _text(
            "ID of image stored in Glance that should be used as the kernel when booting an AMI-style image.", null=True, pattern=UUID
        ),
        "ramdisk_id": _text(
            "ID of image stored in Glance that should be used as the ramdisk when booting an AMI-style image.", null=True, pattern=UUID
        ),
        "instance_uuid": _text("Metadata which can be used to record which instance this image is associated with."),
        "architecture": _text("Operating system architecture"),
        "os_distro": _text("Common name of operating system distribution"),
        "os_version": _text("Operating system version as specified by the distributor."),
    },
    "additionalProperties": {"type": "string"},
    "links": [{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, {"rel": "describedby", "href": "{schema}"}],
}
MEMBER: Schema = {
    "name": "member",
    "properties": {
        "created_at": _text("Date and time of image member creation"),
        "image_id": _text("An identifier for the image", pattern=UUID),
        "member_id": _text("An identifier for the image member (tenantId)"),
        "status": _text("The status of this image member", enum=list(MEMBER_STATUSES)),
        "updated_at": _text("Date and time of last modification of image member"),
        "schema": _text("A schema url"),
    },
}
TASK: Schema = {
    "name": "task",
    "properties": {
        "id": _text("An identifier for the task"),
        "type": _text("The type of task represented by this content", enum=["import", "api_image_import"]),
        "status": _text("The current status of this task", enum=["pending", "processing", "success", "failure"]),
        "input": {"type": ["null", "object"], "description": "The parameters required by task, JSON blob"},
        "result": {"type": ["null", "object"], "description": "The result of current task, JSON blob"},
        "owner": _text("An identifier for the owner of this task"),
        "message": _text("Human-readable informative message only included when appropriate (usually on failure)"),
        "image_id": _text("Image associated with the task"),
        "request_id": _text("Human-readable informative request-id"),
        "user_id": _text("User associated with the task"),
        "expires_at": _text("Datetime when this resource would be subject to removal", null=True),
        "created_at": _text("Datetime when this resource was created"),
        "updated_at": _text("Datetime when this resource was updated"),
        "self": _read_only(_text("A task self url")),
        "schema": _read_only(_text("A task schema url")),
    },
}


def _list_of(name: str, items: Schema, *, paged: bool = True) -> Schema:
    properties: Schema = {name: {"type": "array", "items": items}, "schema": {"type": "string"}}
    links = [{"rel": "describedby", "href": "{schema}"}]
    if paged:
        properties |= {"first": {"type": "string"}, "next": {"type": "string"}}
        links += [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}]
    return {"name": name, "properties": properties, "links": links}


SCHEMAS: dict[str, Schema] = {
    "image": IMAGE,
    "images": _list_of("images", IMAGE),
    "member": MEMBER,
    "members": _list_of("members", MEMBER, paged=False),
    "task": TASK,
    "tasks": _list_of("tasks", TASK),
}


def _definition(name: str, /, **properties: Schema) -> Schema:
    return {
        "name": name,
        "properties": {**properties, "created_at": _text("When it was made"), "updated_at": _text("When it was changed last")},
    }


_NAME = _text("The name", most=255)
NAMESPACE = _definition(
    "namespace", namespace=_text("The unique namespace text.", most=80), display_name=_text("The user friendly name for the namespace."),
    description=_text("Provides a user friendly description of the namespace."), visibility=_text("Scope", enum=["public", "private"]),
    protected=_flag("If true, namespace will not be deletable."), owner=_text("Owner of the namespace."),
)  # fmt: skip
OBJECT = _definition(
    "object",
    name=_NAME,
    description=_text("What it is"),
    required={"type": "array", "items": {"type": "string"}},
    properties={"type": "object"},
)
PROPERTY = _definition("property", name=_NAME, title=_text("The title"), type=_text("The type"), description=_text("What it is"))
TAG = _definition("tag", name=_NAME)
ASSOCIATION = _definition("resource_type_association", name=_NAME, prefix=_text("Prefix of properties"), properties_target=_text("Target"))
_DEFINITIONS: dict[str, Schema] = {
    "namespace": NAMESPACE, "namespaces": _list_of("namespaces", NAMESPACE), "object": OBJECT, "objects": _list_of("objects", OBJECT),
    "property": PROPERTY, "properties": _list_of("properties", PROPERTY), "tag": TAG, "tags": _list_of("tags", TAG), "resource_type": ASSOCIATION,
    "resource_types": _list_of("resource_type_associations", ASSOCIATION),
}  # fmt: skip


async def show_definition_schema(call: Call) -> Answer:
    """A schema of definitions."""
    found = _DEFINITIONS.get(call.parameters["name"])
    if found is None:
        raise not_found()
    return Answer(body=found)


async def show_schema(call: Call) -> Answer:
    """One of them."""
    found = SCHEMAS.get(call.parameters["name"])
    if found is None:
        raise not_found()
    return Answer(body=found)


ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/v2/schemas/{name}"): show_schema,
    ("GET", "/v2/schemas/metadefs/{name}"): show_definition_schema,
}
