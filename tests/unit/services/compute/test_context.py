"""Actions begin once."""

import asyncio

from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_of_many_who_ask_at_once_one_is_heard() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        replies = await asyncio.gather(*(rig.act(id_, name) for name in ("os-stop", "pause", "os-stop", "pause", "os-stop")))
        assert sorted(reply.status for reply in replies) == [202, 409, 409, 409, 409]
        assert "while it is in" in str(next(reply for reply in replies if reply.status == 409).raw)

    on_compute_rig(test)
