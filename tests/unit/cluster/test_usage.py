"""What a bucket holds, asked of real nodes."""

import pytest

from objstore.core.quota import Usage
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import QuorumLost
from tests.support import wires
from tests.support.nodes import key
from tests.unit.cluster.test_cluster import inline, on_real_nodes


def test_the_sum_of_all_devices_is_what_clients_see() -> None:
    async def main(site: wires.Site) -> None:
        nodes, cluster = await on_real_nodes(site, 4)
        assert await cluster.usage(b"bucket01") == Usage(0, 0)
        for number in range(12):
            await cluster.write(key(f"k{number}"), inline(b"x" * 10), payload=b"x" * 10)
        await site.world.clock.sleep(1)
        assert await cluster.usage(b"bucket01") == Usage(12, 120)
        await cluster.write(key("k3"), inline(b"longer than ten"), payload=b"longer than ten")
        await cluster.write(key("k4"), Row(Kind.TOMBSTONE, b"", ZERO, ZERO, 0))
        await site.world.clock.sleep(1)
        assert await cluster.usage(b"bucket01") == Usage(11, 115)
        assert await cluster.usage(b"bucket02") == Usage(0, 0)
        await nodes.stop()
        with pytest.raises(QuorumLost):
            await cluster.usage(b"bucket01")
        await cluster.aclose()

    wires.run(main)
