"""All of tempest's tests of identity.

What cannot pass stands in `EXPECTED` with the reason, and in docs/reference/identity.md: a test that passes although it stands there
fails the run just as one that fails and does not.  The cluster counts three wrong passwords, locks for two seconds and remembers two
passwords (clients/stage.py).
"""

import os
import re
from functools import cache

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
admin_system = all
tempest_roles = member
[identity]
auth_version = v3
uri_v3 = {os.environ["OS_AUTH_URL"]}
region = {REGION}
user_lockout_failure_attempts = 3
user_lockout_duration = 2
user_unique_last_password_count = 2
{f"ca_certificates_file = {CA}" if CA else ""}
[identity-feature-enabled]
api_v2 = false
api_v2_admin = false
trust = true
domain_specific_drivers = true
security_compliance = true
access_rules = true
[service_available]
swift = true
nova = false
glance = false
cinder = false
neutron = false
[validation]
run_validation = false
"""

TREE = "tempest.api.identity"
# Class and test -> how it ends, and why.
EXPECTED: dict[str, tuple[str, str]] = {
    "CredentialsTestJSON.test_credentials_create_get_update_delete": ("FAILED", "gives a key of S3 another access key, which is refused"),
}
_LINE = re.compile(r"^\{\d+\} (?:setUpClass \((\S+)\)|(\S+)) (?:\[[\d.]+s\] )?\.\.\. (ok|FAILED|SKIPPED)", re.MULTILINE)


@cache
def outcomes() -> dict[str, str]:
    """How each test, or class that could not begin, ended: Class.test -> ok, FAILED, SKIPPED."""
    space = SCRATCH / "tempest"
    command("tempest", "init", str(space))
    (space / "etc" / "tempest.conf").write_text(CONFIG)
    out = command("sh", "-c", f"cd {space} && exec tempest run --concurrency 2 --regex {TREE}", timeout=900, ok=(0, 1))
    return {".".join((name or group).split(".")[-2 if name else -1 :]): end for group, name, end in _LINE.findall(out)}


@scenario
def all_of_identity():
    found = outcomes()
    otherwise = {name: end for name, end in found.items() if end != EXPECTED.get(name, ("ok",))[0]}
    assert not otherwise, f"these ended otherwise than expected: {otherwise}"
    gone = EXPECTED.keys() - found.keys()
    assert not gone, f"these are expected and were not run: {sorted(gone)}"
    assert len(found) > 130, f"only {len(found)} tests were run"


run()
