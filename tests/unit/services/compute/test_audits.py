"""Audits of usage, which there are none of."""

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN

PATH = "/os-instance_usage_audit_log"


def test_no_host_has_made_one() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        log = (await rig.ask("GET", PATH, who=ADMIN)).body["instance_usage_audit_logs"]
        assert (log["num_hosts"], log["num_hosts_done"], log["hosts_not_run"]) == (1, 0, ["h1"])
        log = (await rig.ask("GET", PATH + "/2026-01-15%2010%3A00%3A00", who=ADMIN)).body["instance_usage_audit_log"]
        assert (log["period_beginning"], log["period_ending"]) == ("2025-12-01 00:00:00", "2026-01-01 00:00:00")
        assert (await rig.ask("GET", PATH + "/2026-13-15%2010%3A00%3A00", who=ADMIN)).status == 400
        assert (await rig.ask("GET", PATH + "/invalid_time", who=ADMIN)).status == 400
        assert (await rig.ask("GET", PATH)).status == 403

    on_cloud_rig(test)
