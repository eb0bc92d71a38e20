"""Operations of rivals on one key, with nodes that are frozen at the same time."""

import asyncio

from objstore.core.rows import Register
from objstore.wire import messages as m
from tests.support.scripted_nodes import Rig, ballot, draft, key, run, stored


def test_a_promise_in_the_way_and_a_frozen_node_do_not_cost_the_whole_time() -> None:
    async def main(rig: Rig) -> None:
        frozen, promised, _ = rig.members(key())
        await rig.cluster.write(key(), draft())
        frozen.host.freeze()
        await asyncio.sleep(0.1)

        def promise(message: m.Message) -> None:  # a rival's prepare comes in between query and accept
            if isinstance(message, m.Accept) and promised.trouble is not None:
                promised.trouble = None
                promised.registers[key()] = Register(ballot(1 << 50), ballot(1), stored(1))

        promised.trouble = promise
        began_s = rig.now_s
        await rig.cluster.write(key(), draft(note="mine"))
        assert rig.now_s - began_s < 1.0
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert held.row.etag == "mine"

    run(main)
