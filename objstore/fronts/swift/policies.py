"""Storage policies as Swift's clients see them: a container is in one from its making on (ADR 11).

The default ring has the name that the operator gives it, further policies have their own.  A container's policy is kept with its
bucket as the storage class that objects there have unless their writer names another.
"""

from collections.abc import Mapping

from objstore.core.container import CLASS_PART, CLASS_QUOTAS, AccountInfo
from objstore.fronts.swift.answers import Headers, SwiftRefused
from objstore.fronts.swift.context import SwiftFront
from objstore.objects.api import BucketInfo


def class_of(front: SwiftFront, name: str) -> str:
    """The storage class of a policy by its name, whose case is nothing; "" for the default one.  Raises SwiftRefused (400)."""
    wanted = name.lower()
    if not wanted or wanted == front.settings.policy_name.lower():
        return ""
    for policy, storage_class in front.policies.items():
        if policy.lower() == wanted:
            return storage_class
    raise SwiftRefused(400, f"Invalid X-Storage-Policy '{name}'")


def first_config(front: SwiftFront, name: str) -> dict[str, bytes]:
    """What a new container's bucket keeps of its policy.  Raises SwiftRefused (400)."""
    storage_class = class_of(front, name)
    return {CLASS_PART: storage_class.encode()} if storage_class else {}


def check_same(front: SwiftFront, name: str, info: BucketInfo) -> None:
    """Refuse another policy for a container that is there; none need be named.  Raises SwiftRefused (409)."""
    if name and class_of(front, name) != _kept(info):
        raise SwiftRefused(409, f"The container has storage policy {policy_of(front, info)!r} and keeps it; make another container.")


def policy_of(front: SwiftFront, info: BucketInfo) -> str:
    """The name of a container's policy."""
    kept = _kept(info)
    return next((policy for policy, storage_class in front.policies.items() if storage_class == kept), front.settings.policy_name)


def listed(front: SwiftFront) -> list[dict[str, object]]:
    """The policies, as `/info` has them: the default one first."""
    default: dict[str, object] = {"name": front.settings.policy_name, "default": True, "aliases": front.settings.policy_name}
    further: list[dict[str, object]] = [{"name": policy, "aliases": policy} for policy in front.policies]
    return [default, *further]


def account_headers(front: SwiftFront, info: AccountInfo) -> Headers:
    """What an account has in each policy: the default one also where that is nothing."""
    containers, objects, size = info.containers, info.usage.objects, info.usage.bytes
    further: Headers = []
    for policy, storage_class in front.policies.items():
        if storage_class in info.classes:
            count, usage = info.classes[storage_class]
            further += _counts(policy, count, usage.objects, usage.bytes)
            containers, objects, size = containers - count, objects - usage.objects, size - usage.bytes
    return _counts(front.settings.policy_name, containers, objects, size) + further


def quotas_given(front: SwiftFront, headers: Mapping[str, str]) -> dict[str, str]:
    """Changes to an account's quotas for single policies, as settings of the account.  Raises SwiftRefused (400) for an unknown policy."""
    changes: dict[str, str] = {}
    for kind, setting in CLASS_QUOTAS.items():
        for prefix, removes in ((f"x-account-{kind}-policy-", False), (f"x-remove-account-{kind}-policy-", True)):
            for name in headers:
                if name.startswith(prefix):
                    changes[setting + class_of(front, name[len(prefix) :])] = "" if removes else headers[name].strip()
    return changes


def quotas_shown(front: SwiftFront, info: AccountInfo) -> Headers:
    """An account's quotas for single policies."""
    found: Headers = []
    for policy, storage_class in ((front.settings.policy_name, ""), *front.policies.items()):
        for kind, setting in CLASS_QUOTAS.items():
            if setting + storage_class in info.hidden:
                found.append((f"x-account-{kind}-policy-{policy.lower()}".encode(), info.hidden[setting + storage_class].encode()))
    return found


def _counts(policy: str, containers: int, objects: int, size: int) -> Headers:
    prefix = f"x-account-storage-policy-{policy.title()}".encode()
    return [
        (prefix + b"-container-count", b"%d" % containers),
        (prefix + b"-object-count", b"%d" % objects),
        (prefix + b"-bytes-used", b"%d" % size),
    ]


def _kept(info: BucketInfo) -> str:
    return info.config.get(CLASS_PART, b"").decode()
