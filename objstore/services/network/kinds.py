"""What the API's resources are made of: their attributes, what may be set when and by whom; and reading bodies by that.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table

from objstore.services.network import checks
from objstore.services.network.checks import Check
from objstore.services.network.problems import NetworkRefused, bad, denied, shown
from objstore.services.network.records import Who


class Unset:
    """The type of UNSET."""


UNSET: Final = Unset()  # an attribute that a request does not name and that has no default of its own
REQUIRED: Final = Unset()
_ALIASES = {"tenant_id": "project_id"}


@dataclass(frozen=True)
class Attribute:
    """One of them.  `column` is where it is kept: its name, unless that says otherwise, and "" nowhere."""

    name: str
    check: Check
    default: Any = UNSET
    column: str | None = None
    post: bool = True
    put: bool = True
    admin: bool = False  # only the administrator sets it
    hidden: bool = False  # only the administrator sees it

    @property
    def kept(self) -> str:
        """The column's name."""
        return self.name if self.column is None else self.column


@dataclass(frozen=True)
class Kind:
    """A resource: its words and its attributes."""

    name: str  # "security_group"
    plural: str  # "security_groups"
    path: str  # "security-groups"
    table: Table
    missing: str  # "SecurityGroup": of the error's name
    words: str  # "Security group"
    attributes: Sequence[Attribute]
    read_only: Sequence[str] = ()  # shown, never set
    tagged: bool = True
    quota: str = ""
    named: Mapping[str, Attribute] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", {attribute.name: attribute for attribute in self.attributes})

    def not_found(self, id_: object) -> NetworkRefused:
        """404."""
        return NetworkRefused(404, f"{self.missing}NotFound", f"{self.words} {shown(id_)} could not be found.")


def project_attribute() -> Attribute:
    """Whose it is."""
    return Attribute("project_id", checks.project, column="project", put=False)


def description() -> Attribute:
    """What its owner says of it."""
    return Attribute("description", checks.text_or_none, "")


def name() -> Attribute:
    """What its owner calls it."""
    return Attribute("name", checks.text_or_none, "")


def bodies(kind: Kind, document: Any, most: int) -> tuple[list[Any], bool]:
    """The things of a POST's body, and whether it was a list.  Raises 400."""
    if not isinstance(document, dict):
        raise bad("Body contains invalid data")
    if kind.plural in document:
        found = document[kind.plural]
        if not isinstance(found, list) or not found:
            raise bad(f"Resources required: {kind.plural} is a list with something in it")
        if len(found) > most:
            raise bad(f"One request makes {most} resources at most")
        for item in found:
            # Clients write [{"network": {...}}] as well.
            if isinstance(item, dict) and list(item) == [kind.name]:
                raise bad(f"Items of {kind.plural} have their attributes at once, not below '{kind.name}'")
        return found, True
    return [single(kind, document)], False


def single(kind: Kind, document: Any) -> Any:
    """The thing of a body.  Raises 400."""
    if not isinstance(document, dict) or kind.name not in document:
        raise bad(f"Unable to find '{kind.name}' in request body")
    if len(document) > 1:
        raise bad(f"Unrecognized attribute(s) '{shown(', '.join(key for key in document if key != kind.name))}'")
    return document[kind.name]


def parse_new(kind: Kind, given: Any, who: Who) -> dict[str, Any]:
    """Attributes of a new resource by column, UNSET where nothing was said.  Raises 400, 403."""
    named = _by_name(kind, given)
    values: dict[str, Any] = {}
    for attribute in kind.attributes:
        if attribute.name not in named:
            if attribute.default is REQUIRED:
                raise bad(f"Failed to parse request. Required attribute '{attribute.name}' not specified")
            values[attribute.kept] = attribute.default
            continue
        if not attribute.post:
            raise bad(f"Attribute '{attribute.name}' not allowed in POST")
        value = attribute.check(attribute.name, named[attribute.name])
        if attribute.admin and not who.admin and value not in (attribute.default, None):
            raise denied(f"(rule:create_{kind.name}:{attribute.name}) is disallowed by policy")
        values[attribute.kept] = value
    project = values.get("project", UNSET)
    if project is UNSET or (not project and not who.admin):
        project = who.project
    if project != who.project and not who.admin:
        raise denied(f"(rule:create_{kind.name}) is disallowed by policy: the project is not yours")
    if not project:
        raise bad("Running without keystone AuthN requires that project_id is specified: use a token for a project, or name it")
    values["project"] = project
    return values


def parse_change(kind: Kind, given: Any, who: Who) -> dict[str, Any]:
    """Attributes to change by column.  Raises 400, 403."""
    named = _by_name(kind, given)
    values: dict[str, Any] = {}
    for given_name, value in named.items():
        attribute = kind.named.get(given_name)
        if attribute is None or not attribute.put:
            raise bad(f"Cannot update read-only attribute {given_name}")
        found = attribute.check(given_name, value)
        if attribute.admin and not who.admin:
            raise denied(f"(rule:update_{kind.name}:{given_name}) is disallowed by policy")
        values[attribute.kept] = found
    return values


def _by_name(kind: Kind, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise bad("Invalid format of request body: an object of JSON is needed")
    named: dict[str, Any] = {}
    for key, value in given.items():
        known = _ALIASES.get(str(key), str(key))
        if known in named and named[known] != value:
            raise bad("'project_id' and 'tenant_id' do not match")
        named[known] = value
    unknown = [key for key in named if key not in kind.named and key not in kind.read_only]
    if unknown:
        raise bad(f"Unrecognized attribute(s) '{shown(', '.join(unknown))}'")
    refused = [key for key in named if key not in kind.named]
    if refused:
        raise bad(f"Attribute '{refused[0]}' is read-only and not allowed in a request")
    return named
