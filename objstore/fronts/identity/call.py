"""One call: what was asked, by whom, and what a handler may need to answer it."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from objstore.fronts.identity.errors import Headers, IdentityProblem, forbidden, invalid, not_found, unauthorized
from objstore.fronts.identity.settings import IdentitySettings
from objstore.identity.passcodes import Passcodes
from objstore.identity.passwords import Passwords
from objstore.identity.registry import Registry
from objstore.identity.rules import Access, may_change, may_read
from objstore.identity.tenancy import Domain, Kept

T = TypeVar("T", bound=Kept)
View = dict[str, Any]
MAX_NAME_CHARS = 255
MAX_SHORT_CHARS = 64
MAX_TEXT_CHARS = 65_535
MAX_EXTRA_BYTES = 16_384
MAX_PARAMETERS = 100
MAX_LIMIT = 1000
MAX_TIME_US = 253_402_300_799_000_000  # 9999-12-31T23:59:59Z
_ID = re.compile(r"[^/\x00-\x1f\x7f]{1,255}")
_FALSE = ("0", "false", "f", "no", "off", "n")


@dataclass(frozen=True)
class Identity:
    """What handlers work on."""

    registry: Registry
    passwords: Passwords
    settings: IdentitySettings
    public_url: str  # of the service, without /v3
    passcodes: Passcodes

    def now_us(self) -> int:
        """The time."""
        return self.registry.clock.wall_us()


@dataclass
class Answer:
    """What a handler answers; `body` None is no body."""

    status: int = 200
    body: Any = None
    headers: Headers = field(default_factory=list)


@dataclass
class Call:
    """A call.  `access` is None where none is needed and none was given."""

    identity: Identity
    method: str
    path: str  # below /v3, decoded
    parameters: Mapping[str, str]  # of the path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    access: Access | None
    action: str
    head: bool = False  # asked with HEAD

    @property
    def registry(self) -> Registry:
        """The tables."""
        return self.identity.registry

    @property
    def who(self) -> Access:
        """Who calls.  Raises 401."""
        if self.access is None:
            raise unauthorized()
        return self.access

    def link(self, path: str) -> str:
        """The address of something."""
        return f"{self.identity.public_url}/v3{path}"

    def check(self, *, right: bool) -> None:
        """Raises 403."""
        if not right:
            raise forbidden(f"identity:{self.action}")

    def check_read(self, *, domain_id: str = "", user_id: str = "", project_id: str = "") -> None:
        """Raises 403 unless the caller may look at this."""
        self.check(right=may_read(self.who, domain_id=domain_id, user_id=user_id, project_id=project_id))

    def check_change(self, *, domain_id: str = "", user_id: str = "") -> None:
        """Raises 403 unless the caller may change this."""
        self.check(right=may_change(self.who, domain_id=domain_id, user_id=user_id))

    def find(self, struct: type[T], id_: str, kind: str) -> T:
        """Something by its id.  Raises 404; to callers who may see nothing of other domains it looks like what they may not see."""
        found = self.registry.get(struct, id_)
        if found is None:
            if not may_read(self.who) and self.who.scope_domain is None:
                raise forbidden(f"identity:{self.action}")
            raise not_found(kind, id_)
        return found

    def document(self, name: str) -> Mapping[str, Any]:
        """The object of that name in the body.  Raises 400."""
        found = self.body.get(name)
        if not isinstance(found, dict):
            raise IdentityProblem(400, f"'{name}' is a required property")
        return found


Handler = Callable[[Call], Awaitable[Answer]]
Check = Callable[[str, Any], Any]


# -- what bodies hold ---------------------------------------------------------------------------------------------


def text(name: str, value: Any) -> Any:
    """Any text."""
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise invalid(name, f"it must be text of at most {MAX_TEXT_CHARS} characters")
    return value


def nullable(check: Check) -> Check:
    """The same, or null."""
    return lambda name, value: None if value is None else check(name, value)


def called(name: str, value: Any) -> Any:
    """A name: 1 to 255 characters, not only blanks."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME_CHARS or "\x00" in value:
        raise invalid(name, f"it must be text of 1 to {MAX_NAME_CHARS} characters that is not blank")
    return value


def short(name: str, value: Any) -> Any:
    """A name of 1 to 64 characters, as domains and projects have."""
    if len(called(name, value)) > MAX_SHORT_CHARS:
        raise invalid(name, f"it must be text of 1 to {MAX_SHORT_CHARS} characters that is not blank")
    return value


def identifier(name: str, value: Any) -> Any:
    """An id."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise invalid(name, "it must be an id")
    return value


def flag(name: str, value: Any) -> Any:
    """true or false."""
    if not isinstance(value, bool):
        raise invalid(name, "it must be true or false")
    return value


def table(name: str, value: Any) -> Any:
    """An object."""
    if not isinstance(value, dict):
        raise invalid(name, "it must be an object")
    return value


def fields(found: Mapping[str, Any], spec: Mapping[str, Check], *, required: Iterable[str] = (), closed: bool = False) -> dict[str, Any]:
    """The fields of a document that `spec` knows, checked, and under "extra" the others.  Raises 400."""
    for name in required:
        if name not in found:
            raise IdentityProblem(400, f"'{name}' is a required property")
    known = {name: check(name, found[name]) for name, check in spec.items() if name in found}
    extra = {name: value for name, value in found.items() if name not in spec and name not in ("id", "links", "extra")}
    if extra and closed:
        raise IdentityProblem(400, f"Additional properties are not allowed ({', '.join(sorted(extra))[:200]})")
    if len(repr(extra)) > MAX_EXTRA_BYTES:
        raise IdentityProblem(400, f"attributes that the service does not know may have {MAX_EXTRA_BYTES} characters together")
    return {**known, "extra": extra}


def with_extra(held: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that the service does not know after a change.  Raises 400 when they come to too much together."""
    both = {**held, **given}
    if given and len(repr(both)) > MAX_EXTRA_BYTES:
        raise IdentityProblem(400, f"attributes that the service does not know may have {MAX_EXTRA_BYTES} characters together")
    return both


# -- lists --------------------------------------------------------------------------------------------------------


def truth(value: str) -> bool:
    """A flag of a query, as Keystone reads them: everything but a plain no is yes."""
    return value.lower() not in _FALSE


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda have, want: want in have,
    "icontains": lambda have, want: want.lower() in have.lower(),
    "startswith": str.startswith,
    "istartswith": lambda have, want: have.lower().startswith(want.lower()),
    "endswith": str.endswith,
    "iendswith": lambda have, want: have.lower().endswith(want.lower()),
    "iexact": lambda have, want: have.lower() == want.lower(),
}


def filtered(call: Call, views: Iterable[View], names: Iterable[str]) -> list[View]:
    """Those that fit the query's filters, by these attributes.  Other parameters mean nothing, as in Keystone."""
    wanted: list[tuple[str, str, str]] = []
    for parameter, value in call.query.items():
        name, _, how = parameter.partition("__")
        if name in names and (not how or how in _COMPARE):
            wanted.append((name, how, value))
    return [view for view in views if all(_fits(view.get(name), how, value) for name, how, value in wanted)]


def _fits(have: Any, how: str, want: str) -> bool:
    if isinstance(have, bool):
        return have == truth(want)
    if have is None:
        return want in ("", "null", "None") and not how
    return _COMPARE[how](str(have), want) if how else str(have) == want


def listed(call: Call, name: str, views: list[View], path: str, **more: Any) -> Answer:
    """A list with its links; `limit` and `marker` of the query cut a page out of it."""
    links: View = {"next": None, "self": call.link(path), "previous": None}
    query = [(key, value) for key, value in call.query.items() if key != "marker"]
    if query:
        links["self"] += "?" + urlencode(query)
    limit = _limit(call.query.get("limit"))
    marker = call.query.get("marker")
    if marker is not None:
        at = next((index for index, view in enumerate(views) if view.get("id") == marker), None)
        if at is None:
            raise IdentityProblem(400, f"marker {marker[:64]!r} is not in the list")
        views = views[at + 1 :]
    if limit is not None and len(views) > limit:
        views = views[:limit]
        links["next"] = call.link(path) + "?" + urlencode([*query, ("marker", str(views[-1].get("id")))])
    return Answer(body={name: views, "links": links, **more})


def _limit(value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise invalid("limit", "it must be a number")
    return min(int(value), MAX_LIMIT) or None


def parse_query(raw: bytes) -> dict[str, str]:
    """Parameters of a query, the last of each name.  Raises 400."""
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict"))
    except ValueError:
        raise IdentityProblem(400, "the query cannot be read") from None


def time_text(us: int) -> str:
    """2026-11-23T01:02:03.000000Z."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06d}Z"


def parse_time(name: str, value: Any) -> int:
    """Microseconds since 1970 of a time as clients write it, in UTC where it has no zone; never 0, which records take for no time.

    Raises 400.
    """
    us = 0
    if isinstance(value, str) and len(value) <= 64:
        try:
            found = datetime.fromisoformat(value)
            us = int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp() * 1_000_000)
        except (ValueError, OverflowError):
            us = 0
    if not 0 < us <= MAX_TIME_US:  # what could not be shown again: its zone may put it behind the year 9999
        raise invalid(name, "it must be a time such as 2026-11-23T01:02:03.000000Z")
    return us


def domain_of(call: Call, given: Any) -> str:
    """The domain that something is made in or asked for: as given, else that of the caller's scope.  Raises 400, 404."""
    if given:
        if call.registry.get(Domain, str(given)) is None:
            raise not_found("domain", str(given))
        return str(given)
    who = call.who
    if who.scope_domain is not None:
        return who.scope_domain.id
    if who.project is not None:
        return who.project.domain_id
    return who.user.domain_id
