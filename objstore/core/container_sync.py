"""Container sync (Swift's): where a container sends what changes in it, realms, what signs a request of another cluster; pure.

A container names another one as `//realm/cluster/account/container`, or by a URL.  Which clusters and hosts there are to be sent to
is the operator's alone: realms are read from a file in Swift's own form, hosts of URLs are those of a list.  Of such a URL no more is
the user's than an account and a container, so nobody can make the cluster ask for something else in the network that it stands in.

Requests between clusters of a realm are signed by HMAC-SHA1 over method, path, time, a nonce, and the key of the container, under
the realm's key.  Bodies are not signed: clusters that do not trust the way between them speak TLS.
"""

import configparser
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

import msgspec

from objstore.errors import InvalidArgument, InvalidRequest

SYNC_TO, SYNC_KEY = "sync-to", "sync-key"  # parts of a bucket's configuration; changes are noted where the first is set
MAX_TO_BYTES = 2048
MAX_KEY_BYTES = 256
MAX_AHEAD_US = 300 * 1_000_000  # a time further ahead is refused: it would stand above every later write for as long
_STAMP = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?(?:_[0-9a-f]{1,16})?", re.ASCII)
_PORTS = {"http": 80, "https": 443}


class SyncSettings(msgspec.Struct, frozen=True):
    """[container_sync]: with whom containers may be kept in step, and how the daemon goes about it."""

    realms_file: str = ""  # in the form of Swift's container-sync-realms.conf; "" is none
    hosts: tuple[str, ...] = ()  # host or host:port that plain URLs may name, and addresses from which a bare key is taken
    current: str = ""  # //REALM/CLUSTER: which of the clusters this one is, for /info
    interval_s: float = 5.0  # between looks at what has changed
    walk_interval_s: float = 604_800.0  # between comparisons of whole containers with their peers
    puts_at_once: int = 4  # objects of a container under way
    timeout_s: float = 60.0  # without a byte that moves
    ca_file: str = ""  # certificates that those of peers are checked against; "" is the system's


class SyncState(msgspec.Struct, frozen=True, array_like=True):
    """A record: how far a container's peer is kept in step.  New fields go last, with a default.

    The daemon writes it, and whoever changes where the container is sent to.
    """

    record_version: int
    account: str
    bucket: str
    begun_us: int  # when the peer was named: whoever did not know of it then has ended a moment later
    walking: bool = True  # the whole container is being compared, from `walk_start` on
    walk_start: bytes = b""
    walked_us: int = 0  # when that was last begun
    puts: int = 0
    deletes: int = 0
    skipped: int = 0  # what cannot be sent: too large in one piece, sealed with a customer's key
    failures: int = 0
    success_us: int = 0
    error: str = ""  # of the last failure, if nothing went well since


@dataclass(frozen=True)
class Realm:
    """Clusters that trust each other: the keys that sign (the second is taken besides, while keys change), addresses by name."""

    key: str = field(repr=False)
    key2: str = field(repr=False, default="")
    clusters: Mapping[str, str] = field(default_factory=dict)


Realms = Mapping[str, Realm]


@dataclass(frozen=True)
class SyncPeer:
    """The container to be sent to: `base` is scheme, host and port, `path` is quoted; a realm's key signs, or none does."""

    base: str
    path: str
    realm: str = ""
    realm_key: str = field(repr=False, default="")


def parse_realms(text: str) -> dict[str, Realm]:
    """Realms by name in capital letters.  Raises InvalidArgument, which repeats no key."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        found = {}
        for section in parser.sections():
            options = dict(parser.items(section))
            clusters = {name[8:].upper(): _endpoint(value) for name, value in options.items() if name.startswith("cluster_")}
            found[section.upper()] = Realm(options.get("key", ""), options.get("key2", ""), clusters)
    except configparser.Error as failure:
        raise InvalidArgument(f"the file of realms is not in the form of an INI file: {type(failure).__name__}") from None
    for name, realm in found.items():
        if not realm.key:
            raise InvalidArgument(f"realm {name} has no key")
    return found


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidArgument(f"{value!r} is no address of a cluster: http://HOST:PORT/v1/ is")
    return value.rstrip("/")


def peer_of(value: str, realms: Realms, hosts: Sequence[str]) -> SyncPeer:
    """The container that an X-Container-Sync-To names.  Raises InvalidRequest in Swift's words."""
    bare = value.rstrip("/")
    if len(bare.encode("utf-8", "surrogateescape")) > MAX_TO_BYTES or not bare.isprintable():
        raise InvalidRequest(f"Invalid X-Container-Sync-To format: at most {MAX_TO_BYTES} bytes that can be printed")
    return _in_realm(value, bare, realms) if bare.startswith("//") else _by_url(bare, hosts)


def _in_realm(value: str, bare: str, realms: Realms) -> SyncPeer:
    parts = bare[2:].split("/")
    if len(parts) != 4:
        raise InvalidRequest(f"Invalid X-Container-Sync-To format {value!r}")
    realm = realms.get(parts[0].upper())
    if realm is None:
        raise InvalidRequest(f"No realm key for {parts[0]!r}")
    endpoint = realm.clusters.get(parts[1].upper())
    if endpoint is None:
        raise InvalidRequest(f"No cluster endpoint for {parts[0]!r} {parts[1]!r}")
    at = urlsplit(endpoint)
    return SyncPeer(f"{at.scheme}://{at.netloc}", f"{at.path}/{_quoted(parts[2], parts[3])}", parts[0].upper(), realm.key)


def _by_url(bare: str, hosts: Sequence[str]) -> SyncPeer:
    try:
        parts = urlsplit(bare)
        port = parts.port
    except ValueError:
        raise InvalidRequest("X-Container-Sync-To is no address") from None
    if parts.scheme not in _PORTS:
        raise InvalidRequest(f'Invalid scheme {parts.scheme!r} in X-Container-Sync-To, must be "//", "http", or "https".')
    if not parts.path:
        raise InvalidRequest("Path required in X-Container-Sync-To")
    if parts.query or parts.fragment:
        raise InvalidRequest("Params, queries, and fragments not allowed in X-Container-Sync-To")
    host = parts.hostname or ""
    named = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    if not host or parts.username is not None or named not in hosts:
        raise InvalidRequest(f"Invalid host {named!r} in X-Container-Sync-To")
    names = parts.path.split("/")
    if len(names) != 4 or names[:2] != ["", "v1"]:
        raise InvalidRequest("X-Container-Sync-To must end in /v1/account/container")
    return SyncPeer(f"{parts.scheme}://{parts.netloc}", f"/v1/{_quoted(names[2], names[3])}")


def _quoted(account: str, container: str) -> str:
    names = [unquote(account), unquote(container)]
    if any(name in ("", ".", "..") or "/" in name or not name.isprintable() for name in names):
        raise InvalidRequest("X-Container-Sync-To must name an account and a container")
    return "/".join(quote(name, safe="") for name in names)


def sign(method: str, path: str, stamp: str, nonce: str, *, realm_key: str, user_key: str) -> str:
    """The signature of a request, in hexadecimal; `path` is percent-encoded, `stamp` the X-Timestamp as it is sent."""
    message = f"{method}\n{path}\n{stamp}\n{nonce}\n{user_key}"
    return hmac.digest(realm_key.encode(), message.encode("utf-8", "surrogateescape"), "sha1").hex()


def is_signed(given: str, method: str, path: str, stamp: str, nonce: str, *, realm: Realm, user_key: str) -> bool:
    """Whether a signature is good under one of the realm's keys; in a time that tells nothing of it."""
    good = False
    for key in (realm.key, realm.key2 or realm.key):
        wanted = sign(method, path, stamp, nonce, realm_key=key, user_key=user_key)
        good |= hmac.compare_digest(wanted.encode(), given.encode("utf-8", "surrogateescape"))
    return good


def stamp_of(us: int) -> str:
    """A time as clusters tell each other: seconds in ten digits, five behind the point."""
    return f"{us // 1_000_000:010d}.{us % 1_000_000 // 10:05d}"


def parse_stamp(text: str) -> int | None:
    """Microseconds of an X-Timestamp; None for what is none.  An offset behind it, as Swift has them inside, is left out."""
    found = _STAMP.fullmatch(text.strip())
    return None if found is None else int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0")[:6])


def is_newer(us: int, than_us: int) -> bool:
    """Whether a time is later than another as clusters tell them: in steps of ten microseconds."""
    return us // 10 > than_us // 10
