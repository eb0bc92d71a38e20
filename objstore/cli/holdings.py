"""The daemon's side of `objstore du`: pages of what buckets hold, as they go over the control socket."""

from typing import Any

import msgspec

from objstore.cli.requests import ListHoldings, ScanHoldings
from objstore.cluster.api import ClusterApi
from objstore.daemons import control
from objstore.errors import InvalidArgument
from objstore.objects.inventory import BEGIN, Cursor, list_holdings, scan_holdings

Requests = ListHoldings | ScanHoldings


def handlers(cluster: ClusterApi) -> control.Handlers:
    """For the daemon's control socket."""
    return {
        ListHoldings: lambda request: list_holdings(cluster, request.bucket, request.after),
        ScanHoldings: lambda request: scanned(cluster, request),
    }


async def scanned(cluster: ClusterApi, request: ScanHoldings) -> dict[str, Any]:
    """`groups` by prefix, and the `cursor` of the next page, empty at the end.  Raises InvalidArgument, QuorumLost."""
    try:
        bucket = bytes.fromhex(request.bucket_id)
    except ValueError as malformed:
        raise InvalidArgument(f"{request.bucket_id!r} is no id of a bucket") from malformed
    cursor = Cursor.parse(request.cursor) if request.cursor else BEGIN
    groups, following = await scan_holdings(cluster, bucket, prefix=request.prefix, depth=request.depth, cursor=cursor)
    return {"groups": msgspec.to_builtins(groups), "cursor": following.text() if following is not None else ""}
