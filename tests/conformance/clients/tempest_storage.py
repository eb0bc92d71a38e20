"""Tempest's required tests of the guideline "OpenStack Powered Storage" (guideline_storage.txt holds their ids)."""

import os
import re
from pathlib import Path

from scenario import CA, REGION, SCRATCH, command, run, scenario

CONFIG = f"""
[DEFAULT]
log_file = tempest.log
[auth]
use_dynamic_credentials = true
admin_username = admin
admin_password = {os.environ["OS_ADMIN_PASSWORD"]}
admin_project_name = admin
admin_domain_name = Default
tempest_roles = member
[identity]
auth_version = v3
uri_v3 = {os.environ["OS_AUTH_URL"]}
region = {REGION}
{f"ca_certificates_file = {CA}" if CA else ""}
[identity-feature-enabled]
api_v2 = false
[object-storage]
operator_role = member
reseller_admin_role = ResellerAdmin
region = {REGION}
[service_available]
swift = true
nova = false
glance = false
cinder = false
neutron = false
[validation]
run_validation = false
"""


@scenario
def required_tests():
    space = SCRATCH / "tempest"
    command("tempest", "init", str(space))
    (space / "etc" / "tempest.conf").write_text(CONFIG)
    ids = Path(__file__).with_name("guideline_storage.txt")
    wanted = [line for line in ids.read_text().splitlines() if line and not line.startswith("#")]
    out = command("sh", "-c", f"cd {space} && exec tempest run --concurrency 2 --load-list {ids}", timeout=900, ok=(0, 1))
    failed = re.findall(r"\} (\S+) \[[\d.]+s\] \.\.\. FAILED", out)
    assert not failed, failed
    assert re.search(rf"Passed: {len(wanted)}\b", out), out[-600:]


run()
