"""What a guest reads at 169.254.169.254: OpenStack's tree and Amazon's (`/latest`, `/2009-04-04`), made of what compute knows of its server.

Pure: a path and what is known -> an answer.  Nothing can be written here: a password that a guest posts is refused, since nobody would read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from objstore.services.network.driver.api import Metadata

_EC2 = ("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04")
_OPENSTACK = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14",
)  # fmt: skip
_VENDOR_DATA_SINCE, _NETWORK_DATA_SINCE, _VENDOR_DATA2_SINCE = "2013-10-17", "2015-10-15", "2016-10-06"
_MAX_DEPTH = 8

Tree = Mapping[str, "Tree | str"]


@dataclass(frozen=True)
class Found:
    """An answer."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=UTF-8"


_MISSING = Found(404, b"404 Not Found\n")


def answer(method: str, path: str, known: Metadata, address: str) -> Found:
    """To one request of a guest, whose address it came from."""
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if len(parts) > _MAX_DEPTH:
        return _MISSING
    if method == "POST" and parts[:1] == ["openstack"] and parts[2:] == ["password"]:
        return Found(403, b"passwords that guests make are not kept here: log in with a key pair\n")
    if method not in ("GET", "HEAD"):
        return Found(405, b"this can be read only\n")
    if not parts:
        return _text("\n".join([*_EC2, "latest"]))
    if parts[0] == "openstack":
        return _openstack(parts[1:], known)
    if parts[0] in (*_EC2, "latest"):
        return _amazon(parts[1:], known, address)
    return _MISSING


def _text(text: str) -> Found:
    return Found(200, text.encode())


def _json(document: object) -> Found:
    return Found(200, msgspec.json.encode(document), "application/json")


def _openstack(parts: Sequence[str], known: Metadata) -> Found:
    if not parts:
        return _text("\n".join([*_OPENSTACK, "latest"]))
    version = _OPENSTACK[-1] if parts[0] == "latest" else parts[0]
    if version not in _OPENSTACK:
        return _MISSING
    documents: dict[str, Found] = {"meta_data.json": _json(known.metadata), "password": _text("")}
    if known.user_data:
        documents["user_data"] = Found(200, known.user_data, "application/octet-stream")
    if version >= _VENDOR_DATA_SINCE:
        documents["vendor_data.json"] = _json(known.vendor_data)
    if version >= _NETWORK_DATA_SINCE:
        documents["network_data.json"] = _json(known.network_data)
    if version >= _VENDOR_DATA2_SINCE:
        documents["vendor_data2.json"] = _json({})
    if len(parts) == 1:
        return _text("\n".join(sorted(documents)))
    return documents.get(parts[1], _MISSING) if len(parts) == 2 else _MISSING


def _amazon(parts: Sequence[str], known: Metadata, address: str) -> Found:
    if not parts:
        return _text("meta-data/\nuser-data" if known.user_data else "meta-data/")
    if parts == ["user-data"]:
        return Found(200, known.user_data, "application/octet-stream") if known.user_data else _MISSING
    if parts[0] != "meta-data":
        return _MISSING
    at: Tree | str = _tree(known, address)
    for part in parts[1:]:
        if isinstance(at, str) or part not in at:
            return _MISSING
        at = at[part]
    if isinstance(at, str):
        return _text(at)
    if parts[1:] == ["public-keys"]:  # a list of its own kind: numbers with names
        return _text("\n".join(f"{number}={name}" for number, (name, _) in enumerate(_keys(known))))
    return _text("\n".join(name if isinstance(below, str) else f"{name}/" for name, below in sorted(at.items())))


def _keys(known: Metadata) -> list[tuple[str, str]]:
    keys = known.metadata.get("public_keys")
    if not isinstance(keys, Mapping):
        return []
    return sorted((str(name).replace("\n", " "), str(key)) for name, key in keys.items())


def _tree(known: Metadata, address: str) -> Tree:
    def told(name: str, default: str = "") -> str:
        found = known.metadata.get(name)
        return default if found is None else str(found)

    host = told("hostname", known.name)
    short = known.server.replace("-", "")[:8]
    tree: dict[str, Tree | str] = {
        "ami-id": "ami-00000000",
        "ami-launch-index": told("launch_index", "0"),
        "ami-manifest-path": "none",
        "hostname": host,
        "instance-action": "none",
        "instance-id": f"i-{short}",
        "instance-type": told("instance_type", "unknown"),
        "local-hostname": host,
        "local-ipv4": address if ":" not in address else "",
        "placement": {"availability-zone": told("availability_zone", "nova")},
        "public-hostname": host,
        "public-ipv4": told("public_ipv4"),
        "reservation-id": told("reservation_id", f"r-{short}"),
        "security-groups": told("security_groups", "default"),
        "block-device-mapping": {"ami": "vda", "root": "/dev/vda"},
    }
    if keys := _keys(known):
        tree["public-keys"] = {str(number): {"openssh-key": key} for number, (_, key) in enumerate(keys)}
    return tree
