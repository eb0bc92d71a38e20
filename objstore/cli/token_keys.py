"""The daemon's side of `objstore ctl rotate-token-keys`: the next key seals tokens from now on; every process sees it within a second."""

from typing import Any

from objstore.cli.requests import RotateTokenKeys
from objstore.cluster.api import ClusterApi
from objstore.daemons import control
from objstore.identity.registry import Registry
from objstore.runtime.world import World


def handlers(cluster: ClusterApi, world: World, cluster_key: bytes) -> control.Handlers:
    """For the daemon's control socket."""
    return {RotateTokenKeys: lambda request: _rotate(cluster, world, cluster_key, revoke=request.revoke)}


async def _rotate(cluster: ClusterApi, world: World, cluster_key: bytes, *, revoke: bool) -> dict[str, Any]:
    """Numbers and states of the keys there are now.  Raises QuorumLost, ConditionalConflict, DamagedBody."""
    registry = Registry(cluster, world, cluster_key)
    try:
        keys = await registry.rotate_token_keys(revoke=revoke)
    finally:
        await registry.aclose()
    return {"token_keys": [{"number": key.number, "state": keys.state(key)} for key in keys.keys]}
