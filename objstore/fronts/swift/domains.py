"""Accounts and containers by host (Swift's domain remap): `CONTAINER.ACCOUNT.DOMAIN/object` is `/v1/ACCOUNT/CONTAINER/object`.

Off unless `storage_domains` names a domain.  Hosts know neither case nor underscores: of an account the reseller's prefix is found
whatever its case, and with a hyphen for its underscore; the rest must be as it is in the path, in lower case.
"""

from collections.abc import Sequence

from objstore.fronts.swift.request import Scope

ROOT = "/v1/"
BASE = "objstore.swift.base"  # in the scope: what its host put before the path
_MAX_HOST_BYTES = 255


def remapped(scope: Scope, domains: Sequence[str], prefixes: Sequence[str], *, mangles: bool = False) -> Scope | None:
    """The request with the path that its host stands for; None where it stands for none.

    `mangles`: a path that has `/v1/` all the same loses it, for clients that put it before every path.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not host or len(host) > _MAX_HOST_BYTES or not host.isascii():
        return None
    named = host.decode().lower().partition(":")[0].rstrip(".")
    domain = next((domain for domain in domains if named.endswith("." + domain.lower().lstrip("."))), None)
    if domain is None:
        return None
    labels = named[: -len(domain.lstrip(".")) - 1].split(".")
    account = _account_of(labels[-1], prefixes) if len(labels) <= 2 and all(labels) else None
    if account is None:
        return None
    base = ROOT + account + (f"/{labels[0]}" if len(labels) == 2 else "")
    path, raw = scope["path"], scope.get("raw_path")
    if mangles and (path + "/").startswith(ROOT):
        path, raw = path[len(ROOT) - 1 :], None if raw is None else raw[len(ROOT) - 1 :]
    return {**scope, "path": base + path, "raw_path": None if raw is None else base.encode() + raw, BASE: base}


def _account_of(label: str, prefixes: Sequence[str]) -> str | None:
    for prefix in prefixes:
        if label.replace("-", "_", 1).startswith(prefix.lower()) and len(label) > len(prefix):
            return prefix + label[len(prefix) :]
    return None
