"""Steps of jobs."""

import pytest

from objstore.errors import Unavailable
from objstore.services.compute.context import Failed
from objstore.services.compute.work import Over, Work, told
from objstore.services.tables.jobs import Job
from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_a_job_is_over_when_its_server_is_gone_or_does_something_else() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        work = Work(rig.context(), Job("j", "stop", id_, {}, 0))
        assert (await work.server("")).id == id_
        for step in (work.server("powering-off"), work.change("powering-off", name="x"), work.finish("powering-off", vm_state="stopped"),
                     Work(rig.context(), Job("j", "stop", "none", {}, 0)).server()):  # fmt: skip
            with pytest.raises(Over):
                await step
        assert (await rig.shown(id_))["name"] == "s"
        record = await rig.record(id_)
        assert await work.destroy("")
        rig.hosts[record.host].down = True
        with pytest.raises(Unavailable):
            await work.destroy(record.host)  # it was heard of a moment ago
        await rig.dies(record.host)
        assert not await work.destroy(record.host)
        rig.hosts[record.host].down = False
        rig.hosts[record.host].refuses["destroy"] = (409, "no")
        with pytest.raises(Unavailable):
            await work.destroy(record.host)

    on_compute_rig(test)


def test_owners_are_told_in_words_of_bounded_length() -> None:
    assert told(Failed("x" * 1000)) == "x" * 255
    assert told(Failed("why")) == "why"
