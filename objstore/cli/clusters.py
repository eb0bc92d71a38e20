"""A process's view of the cluster: its ring, and where it needs bodies, the rings of all storage policies (ADR 11)."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from objstore.cli.settings import component, read_cluster_key
from objstore.cluster.api import ClusterApi
from objstore.cluster.cluster import Cluster
from objstore.cluster.policies import PolicyClusters
from objstore.core.names import could_be_policy
from objstore.objects.context import ObjectSettings
from objstore.runtime.config import ConfigError
from ring import files

if TYPE_CHECKING:
    from objstore.fronts.s3.settings import S3Settings

STANDARD = "STANDARD"  # always the default ring


@contextlib.asynccontextmanager
async def open_cluster(world: Any, settings: Any, section: Any, ring: str = "") -> AsyncIterator[Cluster]:
    """A cluster by the ring file of the section, or another one."""
    cluster = Cluster(
        world,
        ring=files.load(ring or section.ring),
        # Ballots hold the proxy's id and its clock.  A new id at each start means that a clock which was set back, or a
        # process that was killed, can never make the same ballot twice.
        proxy_id=secrets.randbits(32),
        name=section.name,
        cluster_key=read_cluster_key(section.cluster_key_file),
        settings=component(settings, "cluster"),
    )
    await cluster.start()
    try:
        yield cluster
    finally:
        await cluster.aclose()


async def all_rings(
    stack: contextlib.AsyncExitStack, world: Any, settings: Any, section: Any, default: Cluster, objects: ObjectSettings
) -> ClusterApi:
    """The default ring's cluster with those of the section's policies; itself where there are none.  Raises ConfigError."""
    check_classes(objects, section.policy_rings)
    if not section.policy_rings:
        return default
    others = {
        policy: await stack.enter_async_context(open_cluster(world, settings, section, ring))
        for policy, ring in sorted(section.policy_rings.items())
    }
    return PolicyClusters(default, others)


def check_classes(objects: ObjectSettings, policies: dict[str, str]) -> None:
    """See that every class has a policy that is there.  Raises ConfigError."""
    for policy in policies:
        if not could_be_policy(policy):
            raise ConfigError(f"{policy!r} cannot be the name of a storage policy: a small letter, then up to 31 of a-z, 0-9 and -")
    for name, policy in objects.storage_classes.items():
        if name == STANDARD or not name:
            raise ConfigError(f"objects.storage_classes: {name!r} is the class of the default ring and can have no other policy")
        if policy not in policies:
            known = ", ".join(sorted(policies)) or "none besides the default ring"
            raise ConfigError(f"objects.storage_classes: {name} is given to policy {policy!r}, which is not there; there is {known}")


def first_classes(objects: ObjectSettings) -> dict[str, str]:
    """The class that objects have where a policy is named and no class, by policy: the first that it was given."""
    found: dict[str, str] = {}
    for name, policy in objects.storage_classes.items():
        found.setdefault(policy, name)
    return found


def with_classes(s3: "S3Settings", objects: ObjectSettings) -> "S3Settings":
    """S3's settings with every class that has a policy among those that clients may name."""
    missing = [name for name in objects.storage_classes if name not in s3.storage_classes]
    return msgspec.structs.replace(s3, storage_classes=(*s3.storage_classes, *missing)) if missing else s3
