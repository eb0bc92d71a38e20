"""All of tempest's tests of object storage, and the required ones of the guideline "OpenStack Powered Storage" (guideline_storage.txt holds their ids).

What cannot pass stands in `EXPECTED` with the reason, and in docs/reference/swift.md: a test that passes although it stands there
fails the run just as one that fails and does not.
"""

import os
import re
from functools import cache
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


TREE = "tempest.api.object_storage"
# Class and test -> how it ends, and why.
EXPECTED = {
    "AccountQuotasTest.test_storage_policy_quota_limit": ("SKIPPED", "wants a storage policy called silver"),
    "ContainerSyncMiddlewareTest.test_container_synchronization": ("FAILED", "container sync is not built"),
    "ContainerSyncTest.test_container_synchronization": ("SKIPPED", "tempest skips it itself (bug 1317133)"),
}
_LINE = re.compile(r"^\{\d+\} (?:setUpClass \((\S+)\)|(\S+)) (?:\[[\d.]+s\] )?\.\.\. (ok|FAILED|SKIPPED)", re.MULTILINE)


@cache
def outcomes() -> dict[str, str]:
    """How each test, or class that could not begin, ended: Class.test -> ok, FAILED, SKIPPED."""
    space = SCRATCH / "tempest"
    command("tempest", "init", str(space))
    (space / "etc" / "tempest.conf").write_text(CONFIG)
    in_space = f"cd {space} && exec tempest run"
    listed = command("sh", "-c", f"{in_space} --list-tests --regex {TREE}").splitlines()
    (space / "ids").write_text("\n".join(sorted({*required(), *(line for line in listed if line.startswith(TREE))})))
    out = command("sh", "-c", f"{in_space} --concurrency 2 --load-list ids", timeout=900, ok=(0, 1))
    found = {".".join((name or group).split(".")[-2 if name else -1 :]): end for group, name, end in _LINE.findall(out)}
    assert len(found) > len(required()), out[-600:]
    return found


def required() -> list[str]:
    """The guideline's ids."""
    lines = Path(__file__).with_name("guideline_storage.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@scenario
def required_tests():
    names = {".".join(line.partition("[")[0].split(".")[-2:]) for line in required()}
    missing = {name: outcomes().get(name, "not run") for name in names if outcomes().get(name) != "ok"}
    assert not missing, missing


@scenario
def all_of_object_storage():
    otherwise = {name: end for name, end in outcomes().items() if end != EXPECTED.get(name, ("ok",))[0]}
    assert not otherwise, f"these ended otherwise than expected: {otherwise}"
    gone = EXPECTED.keys() - outcomes().keys()
    assert not gone, f"these are expected and were not run: {sorted(gone)}"


run()
